"""Where each field of an order stands in the rows of one file."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from functools import partial
from typing import Any

from pydantic import BaseModel

from pipeline.errors import InvalidInput
from pipeline.intake.files.cleaning import cleaned, country_of, moment, separated, whole_number
from pipeline.intake.files.mapping import Cell, MomentCell, cells_of
from pipeline.intake.files.rows import Row

Convert = Callable[[str], Any]


@dataclass(frozen=True, slots=True)
class Slot:
    """One field and its cell. `column` is a position, None for a constant; `title` names it."""

    path: tuple[str, ...]
    title: str
    column: int | None
    cell: Cell
    convert: Convert

    @property
    def field(self) -> str:
        return ".".join(self.path)

    def raw(self, row: Row) -> str:
        """What stands in the file."""
        return row.cells[self.column] if self.column is not None else self.cell.value or ""

    def read(self, row: Row) -> Any:
        """The value; None for an empty cell."""
        text = cleaned(self.raw(row), self.cell.clean)
        return self.convert(text) if text and not text.isspace() else None

    def is_refused(self, value: Any) -> bool:
        """Whether the mapping wants a positive value and this is a number that isn't."""
        if value is None or not self.cell.positive:
            return False
        try:
            return not Decimal(value) > 0
        except InvalidOperation:
            return False  # no number at all: the schema says so better


def slots_of(
    cells: BaseModel,
    header: Sequence[str],
    countries: Mapping[str, str],
    under: tuple[str, ...] = (),
) -> list[Slot]:
    """The slots of a table of a mapping in a file with this header, or InvalidInput; `under` is
    the path of the table's fields in an order."""
    return [_slot((*under, *path), cell, header, countries) for path, cell in cells_of(cells)]


def _slot(
    path: tuple[str, ...], cell: Cell, header: Sequence[str], countries: Mapping[str, str]
) -> Slot:
    convert = _converter(path, cell, countries)
    if cell.column is None:
        return Slot(path, ".".join(path), None, cell, convert)
    return Slot(path, cell.column, position_of(cell.column, header), cell, convert)


def _converter(path: tuple[str, ...], cell: Cell, countries: Mapping[str, str]) -> Convert:
    if isinstance(cell, MomentCell):
        return partial(moment, form=cell.format, timezone=cell.timezone)
    if path[0] != "metadata" and path[-1] == "country":
        return partial(country_of, overrides=countries)
    if path == ("coupons",):
        return separated
    return whole_number if path == ("lines", "quantity") else str


def position_of(column: str, header: Sequence[str]) -> int:
    """Which column bears this title, from 0; InvalidInput unless exactly one does."""
    if header.count(column) != 1:
        problem = "two columns named" if column in header else "no column named"
        raise InvalidInput(f"the file has {problem} {column!r}; it has {', '.join(header)}")
    return header.index(column)
