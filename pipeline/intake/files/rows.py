"""The rows of a CSV file. A row that can't be read costs itself, never the rows below it."""

from __future__ import annotations

import csv
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from pipeline.errors import InvalidInput
from pipeline.intake.files.lines import Line
from pipeline.intake.schema import MOST_BYTES


@dataclass(frozen=True, slots=True)
class Row:
    """`line` is where it begins, `size` its bytes. The cells of a `broken` row are a best guess."""

    line: int
    cells: list[str]
    size: int
    broken: str | None = None


def read_rows(lines: Iterable[Line], delimiter: str = ",") -> Iterator[Row]:
    """The header, then all rows but blank ones. A row of another width than the header is broken."""
    feed = _Feed(lines)
    # Strict: without it a stray quote quietly glues cells, and orders, together.
    parser = csv.reader(feed, delimiter=delimiter, strict=True)
    width = 0
    while feed.begin_row():
        try:
            cells = next(parser)
            if width and any(cells) and len(cells) != width:
                raise csv.Error(f"{len(cells)} columns, the header has {width}")
        except csv.Error as error:
            yield _broken(feed.give_back(), delimiter, str(error))
            continue
        if any(cells):
            width = width or len(cells)
            yield Row(feed.taken[0].number, cells, feed.size)


def read_header(rows: Iterator[Row]) -> list[str]:
    """The first row's titles, stripped; InvalidInput if there are none to read."""
    header = next(rows, None)
    if header is None:
        raise InvalidInput("the file is empty: it has not even a header")
    if header.broken:
        raise InvalidInput(f"the header can't be read: {header.broken}")
    return [title.strip() for title in header.cells]


def _broken(line: Line, delimiter: str, reason: str) -> Row:
    try:
        cells = next(csv.reader([line.text], delimiter=delimiter), [])
    except csv.Error:
        cells = []
    return Row(line.number, cells, line.size, line.broken or reason)


class _Feed:
    """Hands lines to the parser and remembers those of the row in hand.

    A quote that is never closed swallows the lines below it; giving back all but the first makes
    rows of them again.
    """

    def __init__(self, lines: Iterable[Line]) -> None:
        self._lines = iter(lines)
        self._again: deque[Line] = deque()
        self.taken: list[Line] = []
        self.size = 0

    def begin_row(self) -> bool:
        """Whether there is a line to begin a row with."""
        self.taken, self.size = [], 0
        if not self._again:
            self._again.extend([line for line in [next(self._lines, None)] if line])
        return bool(self._again)

    def give_back(self) -> Line:
        """All lines of this row but its first, which is returned, will be read again."""
        self._again.extendleft(reversed(self.taken[1:]))
        return self.taken[0]

    def __iter__(self) -> _Feed:
        return self

    def __next__(self) -> str:
        line = self._again.popleft() if self._again else next(self._lines)
        self.taken.append(line)
        self.size += line.size
        if line.broken:
            raise csv.Error(line.broken)
        if self.size > MOST_BYTES:
            raise csv.Error("a quote is not closed")
        return line.text
