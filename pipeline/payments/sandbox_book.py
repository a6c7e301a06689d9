"""The sandbox gateway's book: what it was asked and what it said, in memory or in a SQLite file."""

from __future__ import annotations

import sqlite3
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from pipeline.errors import ConfigurationError
from pipeline.payments.gateway import BookEntry, Call, Kind

BUSY_SECONDS = 30.0
PAGE = 1_000
PREFIX = "sbx_"


def reference(key: str) -> str:
    """Ours for the operation under `key`. Made of it, so that one index serves both."""
    return PREFIX + key


def _key(reference: str | None) -> str | None:
    """The key behind a reference of ours; None for what can't be one."""
    return reference[len(PREFIX) :] if reference and reference.startswith(PREFIX) else None


Asks = tuple[Kind, int, str, str | None]


def asks_of(call: Call) -> Asks:
    """What must be the same in every call under one key."""
    return call.kind, call.amount, call.currency, call.parent


@dataclass(frozen=True, slots=True)
class Record:
    """What stands under a key: what was asked, and why it was declined (None: it was done)."""

    asks: Asks
    decline: str | None


class Book(Protocol):
    def record(self, call: Call, decline: str | None) -> Record:
        """Write `call` down unless its key is taken: declined if `decline` or a guard says so.

        Returns what stands under the key. Of callers that race on one key, one writes.
        """

    def find(self, key: str) -> Record | None: ...

    def count_attempt(self, key: str) -> int:
        """How often this was called for `key`, this time included."""

    def entries(self) -> Iterator[BookEntry]:
        """What was done, oldest first; the declined is not in it."""


@dataclass(slots=True)
class _Account:
    """What became of one authorization."""

    captured: int = 0
    refunded: int = 0
    voided: bool = False


class MemoryBook:
    """A book for one process. Same guards as `FileBook`; the conformance suite compares them."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._records: dict[str, Record] = {}
        self._accounts: defaultdict[str, _Account] = defaultdict(_Account)
        self._attempts: Counter[str] = Counter()

    def record(self, call: Call, decline: str | None) -> Record:
        with self._lock:
            known = self._records.get(call.key)
            if known is not None:
                return known
            record = Record(asks_of(call), decline or self._refusal(call))
            self._records[call.key] = record
            if record.decline is None and call.parent is not None:
                self._post(call, self._accounts[call.parent])
            return record

    def find(self, key: str) -> Record | None:
        return self._records.get(key)

    def count_attempt(self, key: str) -> int:
        with self._lock:
            self._attempts[key] += 1
            return self._attempts[key]

    def entries(self) -> Iterator[BookEntry]:
        with self._lock:
            records = list(self._records.items())
        for key, record in records:
            if record.decline is None:
                kind, amount, currency, _ = record.asks
                yield BookEntry(kind, key, reference(key), amount, currency)

    def _refusal(self, call: Call) -> str | None:
        if call.kind != "void" and call.amount < 1:
            return "amount_too_small"
        if call.kind == "authorize":
            return None
        parent = self._records.get(_key(call.parent) or "")
        if parent is None or parent.decline or parent.asks[0] != "authorize":
            return "authorization_not_found"
        _, authorized, currency, _ = parent.asks
        account = self._accounts[call.parent or ""]
        if call.currency != currency:
            return "currency_mismatch"
        if account.voided:
            return "already_voided"
        if call.kind == "void":
            return "already_captured" if account.captured else None
        done, limit = (
            (account.captured, authorized)
            if call.kind == "capture"
            else (account.refunded, account.captured)
        )
        return "amount_too_large" if done + call.amount > limit else None

    @staticmethod
    def _post(call: Call, account: _Account) -> None:
        if call.kind == "capture":
            account.captured += call.amount
        elif call.kind == "refund":
            account.refunded += call.amount
        else:
            account.voided = True


_SCHEMA = (
    """
    CREATE TABLE IF NOT EXISTS book (
        seq INTEGER PRIMARY KEY,
        key TEXT NOT NULL UNIQUE,
        kind TEXT NOT NULL,
        amount INTEGER NOT NULL,
        currency TEXT NOT NULL,
        parent TEXT,
        decline TEXT
    )
    """,
    "CREATE INDEX IF NOT EXISTS book_parent ON book (parent) WHERE parent IS NOT NULL",
    "CREATE TABLE IF NOT EXISTS attempts (key TEXT PRIMARY KEY, times INTEGER NOT NULL)",
)

_AUTHORIZE = """
    INSERT INTO book (key, kind, amount, currency, parent, decline)
    VALUES (:key, :kind, :amount, :currency, :parent,
            coalesce(:decline, CASE WHEN :amount < 1 THEN 'amount_too_small' END))
    ON CONFLICT (key) DO NOTHING
    RETURNING decline
"""

#: Guard and write in one statement: SQLite has one writer at a time, so nothing comes between.
_FOLLOW_UP = """
    WITH parent AS (
        SELECT amount AS authorized, currency FROM book
        WHERE key = :parent_key AND kind = 'authorize' AND decline IS NULL
    ), account AS (
        SELECT coalesce(sum(amount) FILTER (WHERE kind = 'capture'), 0) AS captured,
               coalesce(sum(amount) FILTER (WHERE kind = 'refund'), 0) AS refunded,
               count(*) FILTER (WHERE kind = 'void') AS voids
        FROM book WHERE parent = :parent AND decline IS NULL
    )
    INSERT INTO book (key, kind, amount, currency, parent, decline)
    SELECT :key, :kind, :amount, :currency, :parent, coalesce(:decline, CASE
        WHEN :kind <> 'void' AND :amount < 1 THEN 'amount_too_small'
        WHEN authorized IS NULL THEN 'authorization_not_found'
        WHEN :currency <> parent.currency THEN 'currency_mismatch'
        WHEN voids > 0 THEN 'already_voided'
        WHEN :kind = 'void' AND captured > 0 THEN 'already_captured'
        WHEN :kind = 'capture' AND captured + :amount > authorized THEN 'amount_too_large'
        WHEN :kind = 'refund' AND refunded + :amount > captured THEN 'amount_too_large'
    END)
    FROM account LEFT JOIN parent ON true
    WHERE true
    ON CONFLICT (key) DO NOTHING
    RETURNING decline
"""

_FIND = "SELECT kind, amount, currency, parent, decline FROM book WHERE key = ?"

_COUNT_ATTEMPT = """
    INSERT INTO attempts (key, times) VALUES (?, 1)
    ON CONFLICT (key) DO UPDATE SET times = times + 1
    RETURNING times
"""

#: By the page: one long read would keep SQLite from ever folding its log back into the file.
_ENTRIES = """
    SELECT seq, kind, key, amount, currency FROM book
    WHERE seq > ? AND decline IS NULL ORDER BY seq LIMIT ?
"""


class FileBook:
    """A book in a SQLite file, for any number of processes and threads of one host.

    It outlives kill -9 of any of its processes, not a power cut: nothing waits for the disk. Each
    thread has its connection, opened at its first call; a process that forks must do so before
    that, as SQLite's locks don't survive a fork.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._local = threading.local()
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._create()
        except (OSError, sqlite3.DatabaseError) as error:
            raise ConfigurationError(
                f"the sandbox gateway can't keep its book in {path}: {error}"
            ) from error

    def record(self, call: Call, decline: str | None) -> Record:
        arguments = {
            "key": call.key,
            "kind": call.kind,
            "amount": call.amount,
            "currency": call.currency,
            "parent": call.parent,
            "parent_key": _key(call.parent),
            "decline": decline,
        }
        statement = _AUTHORIZE if call.kind == "authorize" else _FOLLOW_UP
        written = self._connection().execute(statement, arguments).fetchall()
        if written:
            return Record(asks_of(call), written[0][0])
        (known,) = self._connection().execute(_FIND, (call.key,)).fetchall()
        return _record(known)

    def find(self, key: str) -> Record | None:
        rows = self._connection().execute(_FIND, (key,)).fetchall()
        return _record(rows[0]) if rows else None

    def count_attempt(self, key: str) -> int:
        rows = self._connection().execute(_COUNT_ATTEMPT, (key,)).fetchall()
        return int(rows[0][0])

    def entries(self) -> Iterator[BookEntry]:
        seq = 0
        while page := self._connection().execute(_ENTRIES, (seq, PAGE)).fetchall():
            for _, kind, key, amount, currency in page:
                yield BookEntry(kind, key, reference(key), amount, currency)
            seq = page[-1][0]

    def _connection(self) -> sqlite3.Connection:
        connection: sqlite3.Connection | None = getattr(self._local, "connection", None)
        if connection is None:
            connection = self._local.connection = self._open()
        return connection

    def _open(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self._path, timeout=BUSY_SECONDS, isolation_level=None)
        connection.execute("PRAGMA synchronous = OFF")
        return connection

    def _create(self) -> None:
        """Make the file and its tables if they are not there, whoever else does so just now."""
        with closing(self._open()) as connection:
            _use_wal(connection)
            connection.execute("BEGIN IMMEDIATE")
            for statement in _SCHEMA:
                connection.execute(statement)
            connection.execute("COMMIT")


def _record(row: tuple[Kind, int, str, str | None, str | None]) -> Record:
    return Record(asks=row[:4], decline=row[4])


def _use_wal(connection: sqlite3.Connection) -> None:
    """Switch the file to WAL. SQLite doesn't wait for others who do so too: it answers "locked"."""
    give_up = time.monotonic() + BUSY_SECONDS
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL").fetchall()
            return
        except sqlite3.OperationalError:
            if time.monotonic() > give_up:
                raise
            time.sleep(0.01)
