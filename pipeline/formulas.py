"""CSV that is safe to open: a spreadsheet runs a cell that begins like a formula."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import IO, Any

#: What formulas begin with, in full width, too; some spreadsheets look behind spaces.
_SIGNS = "=+\\-@\uff1d\uff0b\uff0d\uff20"
_FORMULA = re.compile(rf"\s*[{_SIGNS}]|[\t\r\n]")
_NUMBER = re.compile(r"[+-]?[0-9]+(?:\.[0-9]+)?")
_DEFUSED = re.compile(rf"'(?=\s*[{_SIGNS}]|[\t\r\n])")


def defused(cell: Any) -> Any:
    """`cell`, as a text that is shown and not run: behind an apostrophe. Numbers stay numbers."""
    if not isinstance(cell, str) or not _FORMULA.match(cell) or _NUMBER.fullmatch(cell):
        return cell
    return f"'{cell}"


def as_it_was(cell: str) -> str:
    """`cell` without the apostrophe that `defused` has put before it."""
    return _DEFUSED.sub("", cell, count=1) if cell.startswith("'") else cell


def write_rows(file: IO[str], rows: Iterable[Iterable[Any]]) -> None:
    """Write lines of cells as CSV."""
    csv.writer(file).writerows([defused(cell) for cell in row] for row in rows)


def write_table(file: IO[str], columns: Sequence[str], rows: Iterable[Mapping[str, Any]]) -> None:
    """Write the columns' names, then rows by column, as CSV."""
    write_rows(file, [columns])
    write_rows(file, ([row[name] for name in columns] for row in rows))
