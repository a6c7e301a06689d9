"""Consecutive rows that share an order key, with a bound on what is kept of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from pipeline.intake.files.rows import Row
from pipeline.intake.schema import MOST_BYTES, MOST_LINES


@dataclass(slots=True)
class Group:
    """The rows of one order. `count` and `size` (bytes) go on when rows are no longer kept."""

    key: str
    line: int
    rows: list[Row] = field(default_factory=list)
    count: int = 0
    size: int = 0

    @property
    def is_too_large(self) -> bool:
        return self.count > MOST_LINES or self.size > MOST_BYTES

    def add(self, row: Row) -> None:
        self.count += 1
        self.size += row.size
        if self.is_too_large:
            self.rows.clear()
        else:
            self.rows.append(row)


def group_rows(rows: Iterable[Row], column: int) -> Iterator[Group]:
    """Groups by the key in `column`. A row whose key can't be read stays with the rows above it:
    it may be a line of that order, which must not be taken without it."""
    group: Group | None = None
    for row in rows:
        key = key_of(row, column)
        if group is None or (key and key != group.key):
            if group is not None:
                yield group
            group = Group(key, row.line)
        group.add(row)
    if group is not None:
        yield group


def key_of(row: Row, column: int) -> str:
    """The order key, stripped; empty where the row has none."""
    return row.cells[column].strip() if column < len(row.cells) else ""
