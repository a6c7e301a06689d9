"""A set of texts that outgrows memory: a temporary file of SQLite's holds it."""

from __future__ import annotations

import sqlite3


class KeySet:
    """Lives as long as the object does; its memory is bounded by SQLite's page cache (2 MB)."""

    def __init__(self) -> None:
        self._db = sqlite3.connect("", isolation_level=None)  # "": a file that deletes itself
        self._db.execute("PRAGMA journal_mode = OFF")
        self._db.execute("CREATE TABLE keys (key TEXT PRIMARY KEY) WITHOUT ROWID")

    def add(self, key: str) -> bool:
        """Whether it was not there yet."""
        return self._db.execute("INSERT OR IGNORE INTO keys VALUES (?)", (key,)).rowcount == 1

    def __contains__(self, key: str) -> bool:
        return bool(self._db.execute("SELECT 1 FROM keys WHERE key = ?", (key,)).fetchone())

    def close(self) -> None:
        self._db.close()
