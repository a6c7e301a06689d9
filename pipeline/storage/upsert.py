"""INSERT … ON CONFLICT: both databases have it, SQLAlchemy keeps it by dialect."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

from sqlalchemy import Column, Select, Table, and_, func, select, true, update
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


def upsert(
    tx: Tx,
    table: Table,
    columns: list[Column[Any]],
    values: Sequence[tuple[Any, ...]],
    *,
    keep: Mapping[str, Any] = MappingProxyType({}),
) -> None:
    """Insert rows, or replace the non-key columns of those there are. Last one wins in a batch.

    `keep` names columns where a null keeps what is there, with what a new row has instead.
    """
    if not values:
        return
    keys = [c.name for c in table.primary_key.columns]
    latest = _latest(columns, values, keys, keep)
    # In key order, for everyone: two imports at once wait for each other rather than deadlock.
    packed = {"rows": pack(latest[key] for key in sorted(latest))}
    if keep:
        _put_keeping(tx, table, columns, keys, keep, packed)
        return
    given = rows(*columns)
    # WHERE true: SQLite needs it to tell ON CONFLICT from a join's ON.
    statement = insert_into(tx, table).from_select(
        [c.name for c in columns], select(*given.c).where(true())
    )
    changes = {c.name: statement.excluded[c.name] for c in columns if c.name not in keys}
    tx.execute(statement.on_conflict_do_update(index_elements=keys, set_=changes), packed)


def _put_keeping(
    tx: Tx,
    table: Table,
    columns: Sequence[Column[Any]],
    keys: Sequence[str],
    keep: Mapping[str, Any],
    packed: Mapping[str, str],
) -> None:
    """What is there is read under lock. An insert that conflicts has read it before it waited for
    another import, and would write back what that one has replaced; so all rows are made first,
    which waits for whoever is making them."""
    given = rows(*columns)
    there = and_(*(table.c[name] == given.c[name] for name in keys))
    new = [
        func.coalesce(given.c[c.name], keep[c.name]) if c.name in keep else given.c[c.name]
        for c in columns
    ]
    InsertNew(table, [c.name for c in columns], select(*new))(tx, packed)
    of_batch = select(*(table.c[name] for name in keys)).join(given, there)
    lock = of_batch.order_by(*(table.c[name] for name in keys)).with_for_update(of=table)
    tx.execute(lock, packed).all()
    changes = {
        c.name: func.coalesce(given.c[c.name], table.c[c.name])
        if c.name in keep else given.c[c.name]
        for c in columns
        if c.name not in keys
    }  # fmt: skip
    tx.execute(update(table).where(there).values(changes), packed)


def _latest(
    columns: Sequence[Column[Any]],
    values: Sequence[tuple[Any, ...]],
    keys: Sequence[str],
    keep: Mapping[str, Any],
) -> dict[tuple[Any, ...], tuple[Any, ...]]:
    """The last row of each key; where it keeps, with what an earlier one of its key says."""
    at = [i for i, c in enumerate(columns) if c.name in keys]
    keeps = [c.name in keep for c in columns]
    latest: dict[tuple[Any, ...], tuple[Any, ...]] = {}
    for row in values:
        key = tuple(row[i] for i in at)
        before = latest.get(key, row)
        latest[key] = tuple(
            then if kept and now is None else now
            for now, then, kept in zip(row, before, keeps, strict=True)
        )
    return latest
