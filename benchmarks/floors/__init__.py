"""What Postgres itself can do with the same rows: nothing on top of it will be faster."""
