"""The sandbox gateway's book: what it was asked and what it said, in memory or in a SQLite file.

It is a journal: lines are added, never changed. What stands with a payment is the fold of its
lines (`stand`), what others may know of it is told by the gateway.
"""

from __future__ import annotations

import sqlite3
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass, fields, replace
from operator import attrgetter
from pathlib import Path
from typing import Literal, Protocol

from pipeline.errors import ConfigurationError

BUSY_SECONDS = 30.0
PAGE = 1_000
PREFIX = "sbx_"

#: What a line says was done. The second half is done at the gateway, by its customers, its banks
#: and whoever sits at its console, and never asked by us.
Act = Literal[
    "authorize", "capture", "void", "refund",
    "confirm", "fail", "late_capture", "console_refund", "bounce", "dispute", "dispute_won",
    "dispute_lost",
]  # fmt: skip


def reference(key: str) -> str:
    """Ours for the operation under `key`. Made of it, so that one index serves both."""
    return PREFIX + key


def key_of(reference: str | None) -> str | None:
    """The key behind a reference of ours; None for what can't be one."""
    return reference[len(PREFIX) :] if reference and reference.startswith(PREFIX) else None


@dataclass(frozen=True, slots=True)
class Line:
    """What stands under a key: what was asked, when, and why it was declined (None: it was done).

    `parent` is the reference of the authorization that it is about. `waits` is an authorization
    for which the customer must act first. `at` is in microseconds since 1970, UTC; 0 in books
    that were begun before times were kept.
    """

    key: str
    kind: Act
    amount: int
    currency: str
    parent: str | None = None
    order_id: int | None = None
    waits: bool = False
    at: int = 0
    decline: str | None = None

    @property
    def asks(self) -> tuple[Act, int, str, str | None]:
        """What must be the same in every call under one key."""
        return self.kind, self.amount, self.currency, self.parent


@dataclass(slots=True)
class Standing:
    """What became of one authorization."""

    captured: int = 0
    refunded: int = 0
    disputed: int = 0
    voided: bool = False
    confirmed: bool = False
    failed: bool = False


def stand(lines: Iterable[Line]) -> Standing:
    """The fold of the lines about one authorization."""
    standing = Standing()
    for line in lines:
        match line.kind:
            case "capture" | "late_capture":
                standing.captured += line.amount
            case "refund" | "console_refund":
                standing.refunded += line.amount
            case "bounce":
                standing.refunded -= line.amount
            case "dispute":
                standing.disputed += line.amount
            case "dispute_won":
                standing.disputed -= line.amount
            case "void":
                standing.voided = True
            case "confirm":
                standing.confirmed = True
            case "fail":
                standing.failed = True
    return standing


class Book(Protocol):
    def record(self, line: Line) -> Line:
        """Write `line` down unless its key is taken: declined if it says so, or a guard does.

        Returns what stands under the key. Of callers that race on one key, one writes.
        """

    def find(self, key: str) -> Line | None: ...

    def about(self, authorization: str) -> list[Line]:
        """What was done about the authorization of that reference, in order."""

    def count_attempt(self, key: str) -> int:
        """How often this was called for `key`, this time included."""

    def lines(self, since: int, until: int | None) -> Iterator[Line]:
        """What was done in [since, until), oldest first; the declined is not in it."""


class MemoryBook:
    """A book for one process. Same guards as `FileBook`; the conformance suite compares them."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._lines: dict[str, Line] = {}
        self._about: defaultdict[str, list[Line]] = defaultdict(list)
        self._attempts: Counter[str] = Counter()

    def record(self, line: Line) -> Line:
        with self._lock:
            known = self._lines.get(line.key)
            if known is not None:
                return known
            refusal = line.decline or self._refusal(line)
            if refusal:
                line = replace(line, decline=refusal)
            elif line.parent is not None:
                self._about[line.parent].append(line)
            self._lines[line.key] = line
            return line

    def find(self, key: str) -> Line | None:
        return self._lines.get(key)

    def about(self, authorization: str) -> list[Line]:
        with self._lock:
            return list(self._about.get(authorization, ()))

    def count_attempt(self, key: str) -> int:
        with self._lock:
            self._attempts[key] += 1
            return self._attempts[key]

    def lines(self, since: int, until: int | None) -> Iterator[Line]:
        with self._lock:
            lines = list(self._lines.values())
        for line in sorted(lines, key=attrgetter("at")):  # almost sorted: they race for the lock
            if line.decline is None and line.at >= since and (until is None or line.at < until):
                yield line

    def _refusal(self, line: Line) -> str | None:
        if line.kind != "void" and line.amount < 1:
            return "amount_too_small"
        if line.kind == "authorize":
            return None
        parent = self._lines.get(key_of(line.parent) or "")
        if parent is None or parent.decline or parent.kind != "authorize":
            return "authorization_not_found"
        if line.currency != parent.currency:
            return "currency_mismatch"
        return _refusal(line, parent, stand(self._about.get(line.parent or "", ())))


def _refusal(line: Line, parent: Line, now: Standing) -> str | None:
    """Why `line` can't follow `parent`, that being how it stands. `_FOLLOW_UP` says the same."""
    match line.kind:
        case "confirm" | "fail":
            waits = parent.waits and not (now.confirmed or now.failed or now.voided)
            return None if waits else "not_waiting"
        case "capture":
            if now.voided:
                return "already_voided"
            if now.captured:
                return "already_captured"
            if parent.waits and not now.confirmed:
                return "not_authorized"
            return "amount_too_large" if line.amount > parent.amount else None
        case "late_capture":
            return None if now.voided and not now.captured else "not_voided"
        case "void":
            if now.captured:
                return "already_captured"
            return "already_voided" if now.voided else None
        case "refund" | "console_refund":
            if now.voided and not now.captured:
                return "already_voided"
            if now.refunded + line.amount > now.captured:
                return "amount_too_large"
            disputed = now.refunded + now.disputed + line.amount > now.captured
            return "charge_disputed" if disputed else None
        case "dispute":
            return "amount_too_large" if now.disputed + line.amount > now.captured else None
    return None


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
    "CREATE TABLE IF NOT EXISTS attempts (key TEXT PRIMARY KEY, times INTEGER NOT NULL)",
)

#: Columns that came later: added to a book that was begun without them.
_LATER = {
    "order_id": "INTEGER",
    "waits": "INTEGER NOT NULL DEFAULT 0",
    "at": "INTEGER NOT NULL DEFAULT 0",
}

_INDEXES = (
    "CREATE INDEX IF NOT EXISTS book_parent ON book (parent) WHERE parent IS NOT NULL",
    "CREATE INDEX IF NOT EXISTS book_at ON book (at)",
)

_NAMES = [field.name for field in fields(Line)]
_values = attrgetter(*_NAMES)
_COLUMNS = ", ".join(_NAMES)
_GIVEN = ", ".join(f":{name}" for name in _NAMES if name != "decline")

_AUTHORIZE = f"""
    INSERT INTO book ({_COLUMNS})
    VALUES ({_GIVEN},
            coalesce(:decline, CASE WHEN :amount < 1 THEN 'amount_too_small' END))
    ON CONFLICT (key) DO NOTHING
    RETURNING decline
"""  # noqa: S608 # names of ours

#: Guard and write in one statement: SQLite has one writer at a time, so nothing comes between.
_FOLLOW_UP = f"""
    WITH parent AS (
        SELECT amount AS authorized, currency, waits FROM book
        WHERE key = :parent_key AND kind = 'authorize' AND decline IS NULL
    ), now AS (
        SELECT coalesce(sum(amount) FILTER (WHERE kind IN ('capture', 'late_capture')), 0)
                   AS captured,
               coalesce(sum(amount) FILTER (WHERE kind IN ('refund', 'console_refund')), 0)
                   - coalesce(sum(amount) FILTER (WHERE kind = 'bounce'), 0) AS refunded,
               coalesce(sum(amount) FILTER (WHERE kind = 'dispute'), 0)
                   - coalesce(sum(amount) FILTER (WHERE kind = 'dispute_won'), 0) AS disputed,
               count(*) FILTER (WHERE kind = 'void') AS voided,
               count(*) FILTER (WHERE kind = 'confirm') AS confirmed,
               count(*) FILTER (WHERE kind = 'fail') AS failed
        FROM book WHERE parent = :parent AND decline IS NULL
    )
    INSERT INTO book ({_COLUMNS})
    SELECT {_GIVEN}, coalesce(:decline, CASE
        WHEN :kind <> 'void' AND :amount < 1 THEN 'amount_too_small'
        WHEN authorized IS NULL THEN 'authorization_not_found'
        WHEN :currency <> parent.currency THEN 'currency_mismatch'
        WHEN :kind IN ('confirm', 'fail') THEN CASE
            WHEN NOT parent.waits OR confirmed OR failed OR voided THEN 'not_waiting'
        END
        WHEN :kind = 'capture' THEN CASE
            WHEN voided THEN 'already_voided'
            WHEN captured THEN 'already_captured'
            WHEN parent.waits AND NOT confirmed THEN 'not_authorized'
            WHEN :amount > authorized THEN 'amount_too_large'
        END
        WHEN :kind = 'late_capture' THEN CASE
            WHEN NOT voided OR captured THEN 'not_voided'
        END
        WHEN :kind = 'void' THEN CASE
            WHEN captured THEN 'already_captured'
            WHEN voided THEN 'already_voided'
        END
        WHEN :kind IN ('refund', 'console_refund') THEN CASE
            WHEN voided AND NOT captured THEN 'already_voided'
            WHEN refunded + :amount > captured THEN 'amount_too_large'
            WHEN refunded + disputed + :amount > captured THEN 'charge_disputed'
        END
        WHEN :kind = 'dispute' THEN CASE
            WHEN disputed + :amount > captured THEN 'amount_too_large'
        END
    END)
    FROM now LEFT JOIN parent ON true
    WHERE true
    ON CONFLICT (key) DO NOTHING
    RETURNING decline
"""  # noqa: S608

_FIND = f"SELECT {_COLUMNS} FROM book WHERE key = ?"  # noqa: S608
_ABOUT = f"SELECT {_COLUMNS} FROM book WHERE parent = ? AND decline IS NULL ORDER BY seq"  # noqa: S608

_COUNT_ATTEMPT = """
    INSERT INTO attempts (key, times) VALUES (?, 1)
    ON CONFLICT (key) DO UPDATE SET times = times + 1
    RETURNING times
"""

#: By the page: one long read would keep SQLite from ever folding its log back into the file.
_LINES = f"""
    SELECT {_COLUMNS}, seq FROM book
    WHERE (at, seq) > (:at, :seq) AND at < :until AND decline IS NULL
    ORDER BY at, seq LIMIT {PAGE}
"""  # noqa: S608

_FOREVER = 2**63 - 1


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

    def record(self, line: Line) -> Line:
        statement = _AUTHORIZE if line.kind == "authorize" else _FOLLOW_UP
        arguments = dict(zip(_NAMES, _values(line), strict=True))
        arguments["parent_key"] = key_of(line.parent)
        written = self._connection().execute(statement, arguments).fetchall()
        if written:
            return replace(line, decline=written[0][0])
        (known,) = self._connection().execute(_FIND, (line.key,)).fetchall()
        return Line(*known)

    def find(self, key: str) -> Line | None:
        rows = self._connection().execute(_FIND, (key,)).fetchall()
        return Line(*rows[0]) if rows else None

    def about(self, authorization: str) -> list[Line]:
        rows = self._connection().execute(_ABOUT, (authorization,)).fetchall()
        return [Line(*row) for row in rows]

    def count_attempt(self, key: str) -> int:
        rows = self._connection().execute(_COUNT_ATTEMPT, (key,)).fetchall()
        return int(rows[0][0])

    def lines(self, since: int, until: int | None) -> Iterator[Line]:
        place = {"at": since - 1, "seq": _FOREVER, "until": _FOREVER if until is None else until}
        while page := self._connection().execute(_LINES, place).fetchall():
            for *values, seq in page:
                line = Line(*values)
                place |= {"at": line.at, "seq": seq}
                yield line

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
        """Make the file and its tables as far as they are not there, whoever else does so now."""
        with closing(self._open()) as connection:
            _use_wal(connection)
            connection.execute("BEGIN IMMEDIATE")
            for statement in _SCHEMA:
                connection.execute(statement)
            there = {row[1] for row in connection.execute("PRAGMA table_info(book)")}
            for name in _LATER.keys() - there:
                connection.execute(f"ALTER TABLE book ADD COLUMN {name} {_LATER[name]}")
            for statement in _INDEXES:
                connection.execute(statement)
            connection.execute("COMMIT")


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
