"""Mutated requests to a running `web`, and what they cost it."""
