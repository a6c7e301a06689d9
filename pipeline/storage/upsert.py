"""INSERT … ON CONFLICT: both databases have it, SQLAlchemy keeps it by dialect."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import Column, Table, select, true
from sqlalchemy.dialects import postgresql, sqlite

from pipeline.storage.database import Tx
from pipeline.storage.sql import pack, rows


def insert_into(tx: Tx, table: Table) -> Any:
    """The dialect's INSERT, which knows on_conflict_do_nothing and on_conflict_do_update."""
    dialect = sqlite if tx.dialect.name == "sqlite" else postgresql
    return dialect.insert(table)


def upsert(tx: Tx, table: Table, columns: list[Column[Any]], values: Sequence[Any]) -> None:
    """Insert rows, or replace the non-key columns of those there are. Last one wins in a batch."""
    if not values:
        return
    keys = [c.name for c in table.primary_key.columns]
    positions = [i for i, c in enumerate(columns) if c.name in keys]
    latest = {tuple(row[i] for i in positions): row for row in values}
    given = rows(*columns)
    # WHERE true: SQLite needs it to tell ON CONFLICT from a join's ON.
    statement = insert_into(tx, table).from_select(
        [c.name for c in columns], select(*given.c).where(true())
    )
    changes = {c.name: statement.excluded[c.name] for c in columns if c.name not in keys}
    statement = statement.on_conflict_do_update(index_elements=keys, set_=changes)
    # In key order, for everyone: two imports at once wait for each other rather than deadlock.
    tx.execute(statement, {"rows": pack(latest[key] for key in sorted(latest))})
