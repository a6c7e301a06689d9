"""Webhooks: what happens to a source's orders, told to endpoints of its own choosing."""
