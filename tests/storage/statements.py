"""Every statement that a module names, and what it costs: rows for every table, values for every
parameter, and a meter for the work that a database does.

What a row or a parameter is called says what it holds: row `n` of every table belongs to order `n`,
SKU `n` and so on, and so does row `n` of a parameter. A new name gets its value from its type.
"""

from __future__ import annotations

import importlib
import pkgutil
import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Float,
    Integer,
    SmallInteger,
    Table,
    event,
    insert,
    text,
)
from sqlalchemy.dialects import postgresql
from sqlalchemy.sql.dml import Insert, UpdateBase
from sqlalchemy.sql.selectable import CompoundSelect, Select

import ordermill
import pipeline
import scheduler
import web
import workers
from pipeline.audit.rule import Rule
from pipeline.storage import gateway_book
from pipeline.storage.database import Database, Tx
from pipeline.storage.sql import UtcDateTime, pack
from pipeline.storage.tables import metadata
from pipeline.storage.upsert import InsertNew

Statement = Select[Any] | CompoundSelect[Any] | UpdateBase | InsertNew

# --- All that there are -----------------------------------------------------------------------------


def named_statements() -> dict[str, Statement]:
    """Every statement that a module of ours keeps, alone or among others, by its name."""
    found: dict[str, Statement] = {}
    known = set[int]()
    for package in (pipeline, workers, scheduler, web, ordermill):
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            if "migrations" in module.name or module.name.endswith("__main__"):
                continue
            where = module.name.removeprefix("pipeline.").removeprefix("storage.")
            for name, value in vars(importlib.import_module(module.name)).items():
                for label, each in _within(f"{where}.{name}", value):
                    if id(each) not in known:
                        known.add(id(each))
                        found[label] = each
    return found


def _within(name: str, value: Any) -> Iterator[tuple[str, Statement]]:
    match value:
        case Select() | CompoundSelect() | UpdateBase() | InsertNew():
            yield name, value
        case Rule():
            yield f"{name}.checked", value.checked
            yield f"{name}.broken", value.broken
        case dict():
            for key, each in value.items():
                yield from _within(f"{name}[{key}]", each)
        case list() | tuple() if not hasattr(value, "_fields"):
            for number, each in enumerate(value):
                yield from _within(f"{name}[{number}]", each)


# --- Rows and values --------------------------------------------------------------------------------

BEGAN = datetime(2026, 1, 1, tzinfo=UTC)
LATER = timedelta(days=1)

#: What a column, or a field of a parameter, holds in row `n` where its type doesn't tell.
VALUES: dict[str, Any] = {
    "tax": 0, "shipping_tax": 0, "discount": 0, "shipping_discount": 0, "safety": 0,
    "reserved": 1, "on_hand": 1, "rest_version": 1,
    "source_id": 1, "of_source": 1, "source": "source-1", "name_of_source": "source-1",
    "currency": "EUR", "location": "main", "line_no": 1, "line": 1, "seq": 1, "n": 1, "lane": 0,
    "chain": "capture_first", "step": "pay", "stage": "pay", "rules": "default", "customer_group": "",
    "gateway": "sandbox", "version": 1, "rules_version": 1, "exponent": 2, "rounding_mode": "half_up", "times": 0,
    "held_at": None, "cancel_requested_at": None, "lease": None, "leased_until": None,
    "cleared_at": None, "processed_at": None, "erased_at": None, "disabled_at": None,
    "rest_until": None, "revoked_at": None, "expires_at": None, "finished_at": None,
    "asked_by": None, "told_at": None, "most": 10, "looked_at": 10, "offset": 0.0, "seconds": 0.0, "delay": 0.0,
    "types": '["*"]', "categories": "[]", "coupons": "[]", "steps": "[]", "scopes": "[]",
    "policy": "{}", "body": '{"lines": []}', "detail": "{}", "problems": "[]", "doing": "[]",
    "serves": '["DE"]', "size": 1, "attempts": 0, "deaths": 0,
}  # fmt: skip
#: The same, of one table. Where a statement asks for some of them, there are some: of a condition that
#: no row meets Postgres expects so little that it reads the table for it.
OF_TABLE: dict[tuple[str, str], Any] = {
    ("orders", "status"): ["confirmed", "paid", "on_hold", "cancelled"],
    ("archived_orders", "status"): "cancelled",
    ("webhook_deliveries", "state"): "pending",
    ("job_runs", "state"): ["fine", "failed"],
    ("job_runs", "asked_by"): "ada",
    ("notifications", "state"): "waiting",
    ("payment_operations", "kind"): "capture",
    ("payment_operations", "state"): "succeeded",
    ("events", "kind"): ["advanced", "retried", "rejected", "cancelled"],
    ("stock_movements", "kind"): ["receipt", "reservation", "shipment", "transfer"],
    ("coupon_uses", "used"): [0, 1],
    ("dispatches", "lease"): "token-1",
    ("quotes", "coupons"): '["A"]',
    ("webhook_endpoints", "disabled_at"): [None, BEGAN],
    ("queues", "step"): "notify",
    ("prices", "valid_from"): BEGAN,
    ("webhook_attempts", "n"): 1,
}
#: Parameters that take a row for each source, or each job: few, whatever the shop's size.
OF_FEW = {"limits", "jobs"}
#: Tables that stay as they are, or have few rows whatever the shop's size: a row for each thing that
#: is set up, and not for each that happens.
FEW = {"currencies", "schema_serves", "queues", "sources", "locations", "gateway_cursors"}


def value_of(name: str, kind: Any, n: int, table: str = "") -> Any:
    """What stands under that name in row `n` (of that table)."""
    if (table, name) in OF_TABLE and OF_TABLE[table, name] is not None:
        given = OF_TABLE[table, name]
        return given[n % len(given)] if isinstance(given, list) else given
    if name == "order_ids":
        return f"[{n}]"
    if name == "reference" and table == "stock_movements":
        return f"order {n}"
    if name in VALUES and (table, name) not in OF_TABLE:
        return VALUES[name]
    return by_type(name, kind, n)


def by_type(name: str, kind: Any, n: int) -> Any:
    """A value that tells the rows apart, where the column is a key or a text."""
    if isinstance(kind, UtcDateTime):
        ends = name in ("valid_until", "replaced_at", "settled_at", "ended_at")
        return BEGAN + timedelta(seconds=n) + (LATER if ends else timedelta())
    if isinstance(kind, Boolean):
        return True
    if isinstance(kind, Float):
        return 1.0
    if isinstance(kind, Integer | BigInteger | SmallInteger):
        keys = name == "id" or name.endswith("_id") or name in ("order", "of_order", "movement")
        return n if keys else 1
    return f"{name}-{n}"[: getattr(kind, "length", None) or 200]


def fill(tx: Tx, rows: int) -> None:
    """So many rows into every table but those that have few."""
    for table in metadata.sorted_tables:
        if table.name in ("currencies", "schema_serves"):
            continue
        size = 1 if table.name in FEW else rows
        tx.execute(insert(table), [_row(table, n) for n in range(1, size + 1)])
    gateway_book.book.create(tx)
    tx.execute(insert(gateway_book.book), [_row(gateway_book.book, n) for n in range(1, rows + 1)])
    tx.execute(text("CREATE INDEX gateway_book_by_key ON gateway_book (key)"))
    if tx.dialect.name == "sqlite":
        return
    for table in metadata.sorted_tables:
        if (column := table.autoincrement_column) is not None and column.identity is not None:
            tx.execute(
                text(f"SELECT setval(pg_get_serial_sequence('{table.name}', 'id'), {10 * rows})")
            )
    tx.execute(text("ANALYZE"))


def _row(table: Table, n: int) -> dict[str, Any]:
    return {c.name: _cell(table, c, n) for c in table.columns}


def _cell(table: Table, column: Column[Any], n: int) -> Any:
    if column.foreign_keys:
        [key] = column.foreign_keys
        there = key.column
        return _cell(there.table, there, 1 if there.table.name in FEW else n)
    name = "source" if (table.name, column.name) == ("sources", "name") else column.name
    value = value_of(name, column.type, n, table.name)
    return by_type(name, column.type, n) if value is None and not column.nullable else value


# --- Parameters -------------------------------------------------------------------------------------

_dialect: Any = postgresql.dialect
_POSTGRES = _dialect()
_FIELD = re.compile(
    r'CAST\(\((\w+)_items\.value ->> (\d+)\) AS ([A-Za-z ]+)(?:\((\d+)\))?\) AS "?(\w+)"?'
)
_LIST = re.compile(r"CAST\((\w+)_items\.value AS BIGINT\)")
_ITEMS = re.compile(r"AS (\w+)_items\b")
_KINDS = {
    "BIGINT": BigInteger(), "INTEGER": Integer(), "SMALLINT": SmallInteger(), "BOOLEAN": Boolean(),
    "FLOAT": Float(), "timestamptz": UtcDateTime(),
}  # fmt: skip


class Given:
    """The parameters of a statement; `lists` are those of which it takes any number of rows."""

    def __init__(self, statement: Any) -> None:
        compiled = statement.compile(dialect=_POSTGRES)
        sql = str(compiled)
        self._binds = {
            name: bind for name, bind in compiled.binds.items() if bind.required or name == bind.key
        }
        self._binds = {name: bind for name, bind in self._binds.items() if bind.required}
        self.lists: dict[str, list[tuple[str, Any]] | None] = {}
        for name in _ITEMS.findall(sql):
            self.lists[name] = None if name in _LIST.findall(sql) else []
        for name, place, kind, length, label in _FIELD.findall(sql):
            fields = self.lists[name]
            assert fields is not None
            if int(place) == len(fields):
                fields.append((label, _kind(kind.strip(), length)))
        self._table = getattr(getattr(statement, "table", None), "name", "")

    def values(self, rows: int, first: int = 1) -> dict[str, Any]:
        """A value for each, with `rows` rows from `first` in those that take any number."""
        found: dict[str, Any] = {}
        for name, bind in self._binds.items():
            if name not in self.lists:
                told = name if name in VALUES else name.removeprefix("of_")
                found[name] = value_of(told, bind.type, 1, self._table)
                continue
            fields = self.lists[name]
            numbers = range(first, first + (1 if name in OF_FEW else rows))
            found[name] = pack(
                numbers
                if fields is None
                else (
                    [value_of(label, kind, n, self._table) for label, kind in fields]
                    for n in numbers
                )
            )
        return found


def _kind(name: str, length: str) -> Any:
    kind = _KINDS.get(name)
    return kind if kind is not None else type("Text", (), {"length": int(length or 0) or None})()


# --- Work -------------------------------------------------------------------------------------------


def work(database: Database, tx: Tx, statement: Statement, values: Mapping[str, Any]) -> int:
    """What a database does for a statement, whatever the machine: steps of SQLite's virtual machine;
    rows that the nodes of Postgres' plan bring forth or throw away. Nothing of it stays."""
    if isinstance(statement, InsertNew):
        statement = statement._statements[tx.dialect.name]
    with tx.begin_nested() as savepoint:
        try:
            return (
                _steps(tx, statement, values)
                if database.is_sqlite
                else _rows(tx, statement, values)
            )
        finally:
            savepoint.rollback()


#: Steps between two calls of the meter.
_FINE = 10


def _steps(tx: Tx, statement: Any, values: Mapping[str, Any]) -> int:
    connection: Any = tx.connection.driver_connection
    counted = count(1)

    def meter() -> int:
        next(counted)
        return 0

    connection.set_progress_handler(meter, _FINE)
    try:
        result = tx.execute(statement, values)
        if result.returns_rows:
            result.all()
    finally:
        connection.set_progress_handler(None, 0)
    return next(counted) * _FINE


class _Caught(Exception):
    """What would have been sent to the database."""

    def __init__(self, sql: str, values: Any) -> None:
        self.sql, self.values = sql, values


def _catch(_c: Any, _cursor: Any, sql: str, values: Any, _context: Any, _many: bool) -> None:
    raise _Caught(sql, values)


def _rows(tx: Tx, statement: Any, values: Mapping[str, Any]) -> int:
    event.listen(tx, "before_cursor_execute", _catch)
    try:
        tx.execute(statement, values)
    except _Caught as caught:
        sql, sent = caught.sql, caught.values
    finally:
        event.remove(tx, "before_cursor_execute", _catch)
    how = "EXPLAIN (ANALYZE, TIMING OFF, SUMMARY OFF, FORMAT JSON)"
    told = tx.exec_driver_sql(f"{how} {sql}", sent).scalar_one()
    return _of_node(told[0]["Plan"])


def _of_node(node: Mapping[str, Any]) -> int:
    removed = sum(n for name, n in node.items() if name.startswith("Rows Removed"))
    own = (node["Actual Rows"] + removed + 1) * node["Actual Loops"]
    return int(own) + sum(_of_node(each) for each in node.get("Plans", ()))


def is_insert(statement: Statement) -> bool:
    """Whether what it is given are new rows."""
    return isinstance(statement, Insert | InsertNew)
