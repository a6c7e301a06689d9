"""Everything that can die dies, at random moments, under load; then the books must be right.

`test_chaos.py` is the short form; `python -m tests.chaos.soak` (`make soak`) the long one.
"""
