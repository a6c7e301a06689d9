"""Which lines of which stock files were posted."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import select, true

from pipeline.storage.database import Tx
from pipeline.storage.sql import pack, rows
from pipeline.storage.tables import stock_imports
from pipeline.storage.upsert import insert_into

_lines = rows(stock_imports.c.digest, stock_imports.c.line)


def claim(tx: Tx, digest: str, lines: Sequence[int]) -> set[int]:
    """Those of the lines that nobody has posted yet: to be posted in this same transaction.
    `digest` is the SHA-256 of the file's content."""
    statement = (
        insert_into(tx, stock_imports)
        .from_select(["digest", "line"], select(*_lines.c).where(true()))
        .on_conflict_do_nothing()
        .returning(stock_imports.c.line)
    )
    return set(tx.execute(statement, {"rows": pack((digest, line) for line in lines)}).scalars())
