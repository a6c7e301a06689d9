"""Orders from a file, one at a time and judged: JSON lines, or CSV rows grouped by a mapping."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from types import TracebackType

from pipeline.errors import InvalidInput
from pipeline.intake.files.fault import Fault, fault_of
from pipeline.intake.files.groups import Group, group_rows
from pipeline.intake.files.keys import KeySet
from pipeline.intake.files.lines import Line, TextFile
from pipeline.intake.files.mapping import Mapping
from pipeline.intake.files.parse import parsed
from pipeline.intake.files.rows import read_header, read_rows
from pipeline.intake.files.sent import Sent, judge
from pipeline.intake.files.sheet import Sheet


class OrderFile:
    """Iterate it for the orders of a file; memory stays the same whatever its size.

    `done` of `total` are bytes read. A file that can't be read, or lacks a column that the
    mapping names, raises InvalidInput; whatever is wrong with an order is in its judgement.
    """

    def __init__(self, path: Path, mapping: Mapping | None = None) -> None:
        if mapping is None and ".csv" in path.suffixes:
            raise InvalidInput(f"{path} is CSV: say by a mapping which column is which field")
        self._mapping = mapping
        self._file = TextFile(path, mapping.csv.encoding if mapping else "utf-8")
        self.total = self._file.total

    @property
    def done(self) -> int:
        return self._file.done

    def __iter__(self) -> Iterator[Sent]:
        if self._mapping is None:
            return (_from_json(line) for line in self._file if line.broken or line.text.strip())
        return _from_csv(self._file, self._mapping)

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


def _from_csv(file: TextFile, mapping: Mapping) -> Iterator[Sent]:
    rows = read_rows(file, mapping.csv.delimiter)
    sheet = Sheet(mapping, read_header(rows))
    refused = KeySet()
    for group in group_rows(rows, sheet.key):
        sent = _torn(group) if group.key in refused else sheet.sent(group)
        if isinstance(sent.judgement, list):
            refused.add(group.key)
        yield sent


def _torn(group: Group) -> Sent:
    """More rows of an order that was refused above: they are not the whole of it."""
    reason = "rows of one order that stand together; those above were rejected"
    fault = Fault(group.line, "order", group.key, reason, "torn")
    return Sent(group.line, group.count, group.size, group.key, [fault])
