"""INSERT … ON CONFLICT: both databases have it, SQLAlchemy keeps it by dialect."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Column, Select, Table, select, true
from sqlalchemy.dialects import postgresql, sqlite

from pipeline.storage.database import Tx
from pipeline.storage.sql import pack, rows


def insert_into(tx: Tx, table: Table) -> Any:
    """The dialect's INSERT, which knows on_conflict_do_nothing and on_conflict_do_update."""
    return _insert(tx.dialect.name, table)


def _insert(dialect: str, table: Table) -> Any:
    return (sqlite if dialect == "sqlite" else postgresql).insert(table)


class InsertNew:
    """INSERT … SELECT … ON CONFLICT DO NOTHING, built once a dialect: building one takes longer
    than a small one takes to run."""

    def __init__(
        self,
        table: Table,
        names: Sequence[str],
        values: Select[Any],
        *,
        conflict: Sequence[str] | None = None,
        returning: Sequence[Column[Any]] = (),
    ) -> None:
        self._statements = {
            dialect: self._build(dialect, table, names, values, conflict, returning)
            for dialect in ("sqlite", "postgresql")
        }

    def __call__(self, tx: Tx, parameters: Mapping[str, Any]) -> Any:
        return tx.execute(self._statements[tx.dialect.name], parameters)

    @staticmethod
    def _build(
        dialect: str,
        table: Table,
        names: Sequence[str],
        values: Select[Any],
        conflict: Sequence[str] | None,
        returning: Sequence[Column[Any]],
    ) -> Any:
        # WHERE true: SQLite needs it to tell ON CONFLICT from a join's ON.
        statement = _insert(dialect, table).from_select(list(names), values.where(true()))
        statement = statement.on_conflict_do_nothing(index_elements=conflict)
        return statement.returning(*returning) if returning else statement


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
