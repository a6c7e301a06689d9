"""One concern a file. Order matters not: they don't know each other."""
