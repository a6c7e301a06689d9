"""What strangers may send to `web`, mutated, and what it costs."""
