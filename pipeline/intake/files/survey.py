"""A first look at a file's rows: the orders whose rows stand apart, and those that a row which can't
be read may belong to. Both are known before the first order is handed over."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterable, Sequence
from hashlib import blake2b

from pipeline.intake.files.rows import Row

#: Keys in one statement.
_PORTION = 5_000

#: Bits by which most keys are known to be nothing special without asking the file on disk: 1 MB.
_BITS = 1 << 23

#: How a row is read: its key or "", whether that key is sure, and what else its key may be.
ReadKey = Callable[[Row], tuple[str, bool, Sequence[str]]]


class Survey:
    """Keys are kept as hashes of 64 bits, in a temporary file of SQLite's: memory is bounded by its
    page cache (2 MB) and the bits. Two keys with one hash would be looked at more closely than they
    need; who can't know the salt can't seek such keys."""

    def __init__(self) -> None:
        self._salt = os.urandom(16)
        self._db = sqlite3.connect("", isolation_level=None)  # "": a file that deletes itself
        self._db.execute("PRAGMA journal_mode = OFF")
        self._db.execute("CREATE TABLE parts (hash INTEGER)")
        self._db.execute("CREATE TABLE apart (hash INTEGER PRIMARY KEY, parts INTEGER)")
        self._db.execute("CREATE TABLE doubts (hash INTEGER PRIMARY KEY, line INTEGER)")
        self._portion: list[tuple[int]] = []
        self._bits = bytearray(_BITS // 8)

    def read(self, rows: Iterable[Row], read_key: ReadKey) -> None:
        """Look at all rows of a file. A row without a key, or with one that is not sure, may belong
        to the order above it, to the one below it, and to any whose key it may bear."""
        last = above = ""
        waiting: int | None = None
        for row in rows:
            key, is_sure, others = read_key(row)
            if key and key != last:
                self._note(key)
            last = key
            if not is_sure:
                for other in (above, *others):
                    self._doubt(other, row.line)
                waiting = waiting or row.line
                continue
            if waiting is not None:
                self._doubt(key, waiting)
                waiting = None
            above = key
        self._conclude()

    def is_usual(self, key: str) -> bool:
        """Whether the order's rows stand together and no other row may belong to it; False where
        that must be looked up."""
        bit = self.hash(key) % _BITS
        return not self._bits[bit >> 3] & 1 << (bit & 7)

    def parts(self, key: str) -> int:
        """In how many places rows with this key stand."""
        found = self._db.execute("SELECT parts FROM apart WHERE hash = ?", (self.hash(key),))
        return next((parts for (parts,) in found), 1)

    def doubt(self, key: str) -> int | None:
        """The first line that can't be read and may belong to the order with this key."""
        found = self._db.execute("SELECT line FROM doubts WHERE hash = ?", (self.hash(key),))
        return next((line for (line,) in found), None)

    def hash(self, key: str) -> int:
        text = key.encode("utf-8", "surrogatepass")
        digest = blake2b(text, digest_size=8, key=self._salt).digest()
        return int.from_bytes(digest, "big", signed=True)

    def close(self) -> None:
        self._db.close()

    def _note(self, key: str) -> None:
        self._portion.append((self.hash(key),))
        if len(self._portion) == _PORTION:
            self._write()

    def _write(self) -> None:
        self._db.execute("BEGIN")
        self._db.executemany("INSERT INTO parts VALUES (?)", self._portion)
        self._db.execute("COMMIT")
        self._portion.clear()

    def _doubt(self, key: str, line: int) -> None:
        if key:
            self._db.execute("INSERT OR IGNORE INTO doubts VALUES (?, ?)", (self.hash(key), line))

    def _conclude(self) -> None:
        self._write()
        # SQLite sorts on disk what its cache can't hold.
        self._db.execute(
            "INSERT INTO apart SELECT hash, count(*) FROM parts GROUP BY hash HAVING count(*) > 1"
        )
        self._db.execute("DROP TABLE parts")
        for (number,) in self._db.execute(
            "SELECT hash FROM apart UNION ALL SELECT hash FROM doubts"
        ):
            bit = number % _BITS
            self._bits[bit >> 3] |= 1 << (bit & 7)
