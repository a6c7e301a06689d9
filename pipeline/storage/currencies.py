"""Which exponent each currency has in this database, for ever: what amounts were written with."""

from __future__ import annotations

from sqlalchemy import select

from pipeline import money
from pipeline.storage.database import Database, Tx
from pipeline.storage.sql import pack, rows
from pipeline.storage.tables import currencies as table
from pipeline.storage.upsert import InsertNew

_given = rows(*table.c)
_RECORD = InsertNew(table, ["code", "exponent"], select(*_given.c), conflict=["code"])
_ALL = select(table.c.code, table.c.exponent)


def adopt(database: Database) -> None:
    """Let this process go by the record, after it has added what its list of currencies has beside.

    So a currency is on record before anything in it can come in, and a process whose list lacks it
    reads what is in it all the same."""
    recorded = _read(database)
    new = {c: n for c, n in money.listed().items() if c not in recorded}
    if new:
        with database.transaction() as tx:
            _RECORD(tx, {"rows": pack(sorted(new.items()))})
            recorded = read(tx)
    money.go_by(recorded, lambda: _read(database))


def read(tx: Tx) -> dict[str, int]:
    """Each currency's exponent, by its code."""
    return {r.code: r.exponent for r in tx.execute(_ALL)}


def _read(database: Database) -> dict[str, int]:
    with database.snapshot() as tx:
        return read(tx)
