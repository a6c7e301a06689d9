"""The audit: what Ordermill promises, as rules that are checked against what is there."""
