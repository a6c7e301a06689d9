"""Orders from a file, one at a time and judged: JSON lines, or CSV rows grouped by a mapping."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from functools import partial
from itertools import islice
from pathlib import Path
from types import TracebackType

from pipeline.errors import InvalidInput
from pipeline.intake.files.fault import Fault, fault_of
from pipeline.intake.files.gather import gathered
from pipeline.intake.files.groups import group_rows
from pipeline.intake.files.kinds import is_json, unlike_json_lines
from pipeline.intake.files.lines import Line, TextFile
from pipeline.intake.files.mapping import Mapping
from pipeline.intake.files.parse import parsed
from pipeline.intake.files.rows import Row, read_header, read_rows
from pipeline.intake.files.sent import Sent, judge
from pipeline.intake.files.sheet import Sheet
from pipeline.intake.files.survey import Survey

#: Lines of the first look between two tidings of how far it is.
LOOK_EVERY = 10_000


class OrderFile:
    """Iterate it for the orders of a file; memory stays the same whatever its size.

    CSV is read twice: a first look finds the orders whose rows stand apart. `done` of `total` are
    bytes read, by the first look (`on_look` is called as it goes), then by the second. A file that can't be read, or lacks a column that the
    mapping names, raises InvalidInput; whatever is wrong with an order is in its judgement.
    """

    def __init__(
        self,
        path: Path,
        mapping: Mapping | None = None,
        on_look: Callable[[OrderFile], None] = lambda _: None,
    ) -> None:
        if mapping is None and ".csv" in path.suffixes:
            raise InvalidInput(f"{path} is CSV: say by a mapping which column is which field")
        self._mapping = mapping
        self._on_look = on_look
        self._file = TextFile(path, mapping.csv.encoding if mapping else "utf-8")
        self.total = self._file.total
        self._expect_kind(path)

    def _expect_kind(self, path: Path) -> None:
        problem = None
        if self._mapping is None:
            problem = unlike_json_lines(self._file.start)
        elif is_json(self._file.start):
            problem = "JSON, which needs no mapping"
        if problem:
            self._file.close()
            raise InvalidInput(f"{path} is {problem}")

    @property
    def done(self) -> int:
        return self._file.done

    def __iter__(self) -> Iterator[Sent]:
        if self._mapping is None:
            return (_from_json(line) for line in self._file if line.broken or line.text.strip())
        return _from_csv(self._file, self._mapping, lambda: self._on_look(self))

    def __enter__(self) -> OrderFile:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._file.close()


def _from_json(line: Line) -> Sent:
    data = parsed(line)
    if isinstance(data, Fault):
        return Sent(line.number, 1, line.size, None, [data])
    judgement = judge(data, (), partial(fault_of, line.number))
    found = data.get("external_id") if isinstance(data, dict) else None
    external_id = found if isinstance(found, str) else None
    return Sent(line.number, 1, line.size, external_id, judgement, data)


def _from_csv(file: TextFile, mapping: Mapping, on_look: Callable[[], None]) -> Iterator[Sent]:
    with closing(Survey()) as survey:
        look = _Look(file, on_look)
        rows = read_rows(look, mapping.csv)
        sheet = Sheet(mapping, read_header(rows))
        survey.read(_kept(rows, sheet), sheet.read_key)
        file.rewind()
        rows = read_rows(_again(file, look.lines), mapping.csv)
        read_header(rows)
        for group in gathered(group_rows(_kept(rows, sheet), sheet.key_of), survey):
            yield sheet.sent(group)


def _kept(rows: Iterator[Row], sheet: Sheet) -> Iterator[Row]:
    return (row for row in rows if not sheet.is_skipped(row))


class _Look:
    """The lines of a file, counted, with tidings now and then."""

    def __init__(self, lines: Iterable[Line], on_look: Callable[[], None]) -> None:
        self._lines = lines
        self._on_look = on_look
        self.lines = 0

    def __iter__(self) -> Iterator[Line]:
        for line in self._lines:
            self.lines += 1
            if self.lines % LOOK_EVERY == 0:
                self._on_look()
            yield line


def _again(file: TextFile, lines: int) -> Iterator[Line]:
    """The lines that were looked at. InvalidInput after them, and before the last order is handed
    over, if there are others by now: these might be rows of any order."""
    yield from islice(file, lines)
    file.expect_unchanged()
