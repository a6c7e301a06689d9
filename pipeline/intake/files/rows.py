"""The rows of a CSV file. A row that can't be read costs itself, never the rows below it.

A quote that opens by chance and closes by chance, lines below, would make one row of two: of two
customers' orders. Such a record is told by its first line and its last, which are whole rows by
themselves; or one of them is, and what stands where the other has numbers and codes are such, too.
All of its lines are refused, since nobody can know whether they are rows or a text.
"""

from __future__ import annotations

import csv
import re
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from functools import cache
from itertools import chain
from typing import NamedTuple

from pipeline.errors import InvalidInput
from pipeline.intake.files.lines import Line
from pipeline.intake.files.mapping import Csv
from pipeline.intake.schema import MOST_BYTES
from pipeline.problems import fit_to_show

#: Bytes of a file that are looked at before its first row is handed over.
FIRST_BYTES = 1_000_000

_SAY_QUOTE = (
    "say in the mapping's [csv] whether they enclose cells (quote = '\"') or are text "
    '(quote = "none")'
)


class Row(NamedTuple):
    """`line` is where it begins, `size` its bytes. The cells of a `broken` row are a best guess, but
    for the first `sure` ones."""

    line: int
    cells: list[str]
    size: int
    broken: str | None = None
    sure: int = 0


def read_rows(lines: Iterable[Line], form: Csv | None = None) -> Iterator[Row]:
    """The header, then all rows but blank ones. A row of another width than the header is broken.
    InvalidInput if whole cells of a file with tabs stand in quotes, and the mapping says nothing of
    it."""
    form = form or Csv()
    is_in_doubt = quotes_are_in_doubt(form)
    if is_in_doubt:
        lines = _looked_at(lines, form.delimiter)
    feed = _Feed(lines)
    parser = _parser(feed, form, strict=True)
    header: Row | None = None
    while feed.begin_row():
        try:
            cells = next(parser)
        except csv.Error as error:
            yield from _unreadable(feed.give_back(), form, str(error))
            continue
        if not any(cells):
            continue
        if header is None:
            header = Row(feed.taken[0].number, cells, feed.size, feed.broken)
            yield header
        elif feed.broken or len(cells) != len(header.cells) or len(feed.taken) > 1:
            yield from _doubtful(feed, cells, len(header.cells), form)
        elif is_in_doubt and any(map(_stands_in_quotes, cells)):
            reason = f"cells stand in quotes: {_SAY_QUOTE}"
            yield Row(feed.taken[0].number, cells, feed.size, reason, len(cells))
        else:
            yield Row(feed.taken[0].number, cells, feed.size)


def read_header(rows: Iterator[Row]) -> list[str]:
    """The first row's titles, stripped; InvalidInput if there are none to read."""
    header = next(rows, None)
    if header is None:
        raise InvalidInput("the file is empty: it has not even a header")
    if header.broken:
        raise InvalidInput(f"the header can't be read: {header.broken}")
    return [title.strip() for title in header.cells]


def quotes_are_in_doubt(form: Csv) -> bool:
    """Whether quotes are text only because nothing was said of them."""
    return form.quote is None and form.quote_character is None


def _looked_at(lines: Iterable[Line], delimiter: str) -> Iterator[Line]:
    """The same lines, if no cell among the first of them stands in quotes."""
    rest = iter(lines)
    first: list[Line] = []
    size = 0
    for line in rest:
        first.append(line)
        size += line.size
        for cell in line.text.rstrip("\r\n").split(delimiter):
            if _stands_in_quotes(cell):
                raise InvalidInput(
                    f"line {line.number}: whole cells stand in quotes, such as {fit_to_show(cell)}; "
                    f"{_SAY_QUOTE}"
                )
        if size > FIRST_BYTES:
            break
    return chain(first, rest)


def _stands_in_quotes(cell: str) -> bool:
    return len(cell) > 1 and cell[0] == cell[-1] == '"'


def _parser(lines: Iterable[str], form: Csv, *, strict: bool) -> Iterator[list[str]]:
    # Strict: without it what stands after a closing quote is quietly glued to the cell.
    if form.quote_character is None:
        return csv.reader(
            lines, delimiter=form.delimiter, quoting=csv.QUOTE_NONE, quotechar=None, strict=strict
        )
    return csv.reader(
        lines, delimiter=form.delimiter, quotechar=form.quote_character, strict=strict
    )


def _doubtful(feed: _Feed, cells: list[str], width: int, form: Csv) -> Iterator[Row]:
    """A row that holds bytes it may not, is of another width than the header, or spans lines."""
    first, last = feed.taken[0], feed.taken[-1]
    if last is not first and _are_rows(first, last, cells, width, form):
        reason = (
            f"a quote makes one row of lines {first.number} to {last.number}, though they are whole "
            'rows by themselves: is quote = "none" missing in the mapping\'s [csv]?'
        )
        yield from (row for line in feed.taken if (row := _by_itself(line, width, form, reason)))
    elif len(cells) != width:
        reason = f"{len(cells)} columns, the header has {width}"
        yield Row(first.number, cells, feed.size, feed.broken or reason)
    else:
        yield Row(first.number, cells, feed.size, feed.broken, len(cells))


def _are_rows(first: Line, last: Line, cells: Sequence[str], width: int, form: Csv) -> bool:
    """Whether the first line of a record and its last are rows by themselves, one of which may have
    broken off: then its cells must be known by those that stand in the other."""
    begun, sure = _cells_of(first.text, form)
    ended, _ = _cells_of(last.text, form)
    if min(len(begun), len(ended)) >= width:
        return True
    if len(ended) == width == len(cells):  # the first broke off
        # A space follows a comma in a text, but hardly a delimiter.
        is_prose = any(cell[:1].isspace() for cell in ended[: sure + 1])
        return not is_prose and _look_alike(begun[:sure], ended[:sure])
    if len(begun) == width == len(cells):  # of the last the beginning is missing
        return _look_alike(cells[sure + 1 :], begun[sure + 1 :])
    return False


def _look_alike(cells: Sequence[str], others: Sequence[str]) -> bool:
    """Whether `others` may stand in the columns of `cells`: what is a number or a code here is one
    there. Names tell nothing, unless there is nothing else."""
    pairs = [(_kind(cell), _kind(other)) for cell, other in zip(cells, others, strict=True)]
    known = [(one, other) for one, other in pairs if _DIGIT in one] or pairs
    alike = [one == other for one, other in known if other]
    return any(alike) and all(alike)


_DIGIT = "0"
_CODE = re.compile(r"(?=.*\d)[\dA-Z./#_-]+", re.ASCII)


def _kind(cell: str) -> str:
    """What kinds of signs a cell has: "0" is a number or a code in capitals."""
    cell = cell.strip()
    if _CODE.fullmatch(cell):
        return _DIGIT
    return "".join(sorted({_sign(sign) for sign in cell}))


def _sign(sign: str) -> str:
    if sign.isalpha():
        return "A" if sign.isupper() else "a"
    return _DIGIT if sign in "0123456789" else sign


def _by_itself(line: Line, width: int, form: Csv, reason: str) -> Row | None:
    cells, _ = _cells_of(line.text, form)
    if not any(cells):
        return None
    sure = len(cells) if len(cells) == width else 0
    return Row(line.number, cells, line.size, line.broken or reason, sure)


def _unreadable(line: Line, form: Csv, reason: str) -> Iterator[Row]:
    """A line without the lines below it that a quote had swallowed. What stands between carriage
    returns may be rows, too."""
    is_cut = line.size > MOST_BYTES
    for text in line.text.rstrip("\r\n").split("\r"):
        cells, sure = _cells_of(text, form)
        yield Row(line.number, cells, line.size, line.broken or reason, max(0, sure - is_cut))


def _cells_of(text: str, form: Csv) -> tuple[list[str], int]:
    """What a line holds by itself, and how many of its first cells are sure: those before a quote
    that is wrong, or never closed. From there on quotes are text."""
    text = text.rstrip("\r\n")
    delimiter, quote = form.delimiter, form.quote_character
    if quote is None:
        cells = text.split(delimiter)
        return cells, len(cells)
    cells, at = [], 0
    while at <= len(text):
        if text.startswith(quote, at):
            closed = _quoted(quote, delimiter).match(text, at)
            if closed is None:
                rest = (cell.strip().strip(quote) for cell in text[at:].split(delimiter))
                return [*cells, *rest], len(cells)
            cells.append(closed[1].replace(quote * 2, quote))
            at = closed.end() + 1
        else:
            end = text.find(delimiter, at)
            end = len(text) if end < 0 else end
            cells.append(text[at:end])
            at = end + 1
    return cells, len(cells)


@cache
def _quoted(quote: str, delimiter: str) -> re.Pattern[str]:
    """A quoted cell up to its end."""
    q, d = re.escape(quote), re.escape(delimiter)
    return re.compile(f"{q}([^{q}]*+(?:{q}{q}[^{q}]*+)*+){q}(?={d}|$)")


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
        self.broken: str | None = None

    def begin_row(self) -> bool:
        """Whether there is a line to begin a row with."""
        self.taken, self.size, self.broken = [], 0, None
        if not self._again:
            line = next(self._lines, None)
            if line is None:
                return False
            self._again.append(line)
        return True

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
            self.broken = self.broken or line.broken
        if self.size > MOST_BYTES:
            raise csv.Error("a quote is not closed")
        return line.text
