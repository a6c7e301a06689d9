"""Which lines of which stock files were posted."""

from __future__ import annotations

from collections.abc import Sequence

from sqlalchemy import select

from pipeline.storage.database import Tx
from pipeline.storage.sql import pack, rows
from pipeline.storage.tables import stock_imports
from pipeline.storage.upsert import InsertNew

_lines = rows(stock_imports.c.digest, stock_imports.c.line)
_CLAIM = InsertNew(
    stock_imports, ["digest", "line"], select(*_lines.c), returning=[stock_imports.c.line]
)


def claim(tx: Tx, digest: str, lines: Sequence[int]) -> set[int]:
    """Those of the lines that nobody has posted yet: to be posted in this same transaction.
    `digest` is the SHA-256 of the file's content."""
    return set(_CLAIM(tx, {"rows": pack((digest, line) for line in lines)}).scalars())
