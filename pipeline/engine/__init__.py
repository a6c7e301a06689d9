"""How a batch of orders gets through a step without losing or doubling anything.

claim → run → record → announce; a message is a hint, the database is the truth.
"""
