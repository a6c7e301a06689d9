"""How orders come in: one schema, one door (`accept`), and files as one of the ways there."""
