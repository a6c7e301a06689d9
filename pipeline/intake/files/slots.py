"""Where each field of an order stands in the rows of one file."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from functools import partial
from typing import Any

from pydantic import BaseModel

from pipeline.errors import InvalidInput
from pipeline.intake.files.cleaning import (
    cleaned,
    country_of,
    drop_apostrophe,
    moment,
    separated,
    whole_number,
)
from pipeline.intake.files.mapping import Cell, MomentCell, cells_of
from pipeline.intake.files.numbers import Numbers
from pipeline.intake.files.rows import Row

#: Fields that hold a number, of orders and of all else that comes in rows.
NUMBERS = frozenset(
    {
        "quantity",
        "unit_price",
        "total",
        "price",
        "weight",
        "reorder_point",
        "from_quantity",
        "units",
    }
)

Convert = Callable[[str], Any]


@dataclass(frozen=True, slots=True)
class Slot:
    """One field and its cell. `column` is a position, None for a constant; `title` names it."""

    path: tuple[str, ...]
    title: str
    column: int | None
    cell: Cell
    convert: Convert
    numbers: Numbers | None = None

    @property
    def field(self) -> str:
        return ".".join(self.path)

    def raw(self, row: Row) -> str:
        """What stands in the file."""
        return row.cells[self.column] if self.column is not None else self.cell.value or ""

    def read(self, row: Row) -> Any:
        """The value; None for an empty cell."""
        raw = self.raw(row)
        if self.numbers is not None and (plain := self.numbers.plain(raw)) is not None:
            raw = plain
        text = cleaned(raw, self.cell.clean)
        return self.convert(text) if text and not text.isspace() else None

    @property
    def takes_all(self) -> bool:
        """Whether the mapping leaves it all to the schema."""
        return self.numbers is None and not self.cell.positive

    def refuses(self, row: Row) -> str | None:
        """What the mapping wants, where the schema might be content with less."""
        if self.takes_all or (value := self.read(row)) is None:
            return None
        if self.numbers is not None and self.numbers.plain(self.raw(row)) is None:
            return self.numbers.expected
        return "more than 0" if self.cell.positive and _is_0_or_less(value) else None


def _is_0_or_less(value: Any) -> bool:
    try:
        return not Decimal(value) > 0
    except InvalidOperation:
        return False  # no number at all: the schema says so better


def slots_of(
    cells: BaseModel | dict[str, Cell],
    header: Sequence[str],
    countries: Mapping[str, str],
    under: tuple[str, ...] = (),
    numbers: Numbers | None = None,
) -> list[Slot]:
    """The slots of a table of a mapping in a file with this header, or InvalidInput; `under` is
    the path of the table's fields in an order, `numbers` how the file writes them."""
    form = None if numbers is None or numbers.are_plain else numbers
    return [_slot((*under, *path), cell, header, countries, form) for path, cell in cells_of(cells)]


def _slot(
    path: tuple[str, ...],
    cell: Cell,
    header: Sequence[str],
    countries: Mapping[str, str],
    numbers: Numbers | None,
) -> Slot:
    convert = _converter(path, cell, countries)
    if cell.column is None:  # a constant is written as the schema has it
        return Slot(path, ".".join(path), None, cell, convert)
    is_number = path[0] != "metadata" and path[-1] in NUMBERS
    column = position_of(cell.column, header)
    return Slot(path, cell.column, column, cell, convert, numbers if is_number else None)


def _converter(path: tuple[str, ...], cell: Cell, countries: Mapping[str, str]) -> Convert:
    if isinstance(cell, MomentCell):
        return partial(moment, form=cell.format, timezone=cell.timezone)
    if path[0] != "metadata":
        if path[-1] == "country":
            return partial(country_of, overrides=countries)
        if path[-1] == "postal_code":
            return _postal_code
    if path == ("coupons",):
        return separated
    return whole_number if path == ("lines", "quantity") else str


def _postal_code(text: str) -> str | None:
    return drop_apostrophe(text) or None


def position_of(column: str, header: Sequence[str]) -> int:
    """Which column bears this title, from 0; InvalidInput unless exactly one does."""
    if header.count(column) != 1:
        problem = "two columns named" if column in header else "no column named"
        raise InvalidInput(f"the file has {problem} {column!r}; it has {', '.join(header)}")
    return header.index(column)
