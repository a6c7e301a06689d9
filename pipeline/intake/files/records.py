"""One record a line: JSON lines, or CSV whose header bears the fields' own names."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from pydantic import BaseModel, ValidationError

from pipeline.errors import InvalidInput
from pipeline.intake.files.fault import Fault, fault_of
from pipeline.intake.files.lines import Line, TextFile
from pipeline.intake.files.mapping import Csv
from pipeline.intake.files.parse import parsed
from pipeline.intake.files.rows import read_header, read_rows
from pipeline.intake.files.slots import slots_of
from pipeline.intake.schema import problems

M = TypeVar("M", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class Record(Generic[M]):
    """What stands on `line`: `value`, or the faults that make it none. `size` is in bytes."""

    line: int
    size: int
    key: str | None
    value: M | None
    faults: Sequence[Fault] = ()


def read_records(
    file: TextFile, path: Path, model: type[M], mapping: tuple[Csv, BaseModel] | None = None
) -> Iterator[Record[M]]:
    """The records of `file`, checked against `model`, whose first field names a record.

    CSV if `path` says so (.csv or .csv.gz), otherwise JSON lines. An empty cell is a field left
    out. InvalidInput if the header lacks a field that must be there, or has one that is none.
    With a `mapping` (how the CSV is written, and a table of cells) its columns may have any names.
    """
    if ".csv" not in path.suffixes:
        found = _from_json(file)
    elif mapping is None:
        found = _from_csv(file, model)
    else:
        found = _by_mapping(file, *mapping)
    key = next(iter(model.model_fields))
    for line, size, data in found:
        if isinstance(data, Fault):
            yield Record(line, size, None, None, [data])
        else:
            yield _checked(line, size, data, model, key)


_Found = tuple[int, int, Any]  # line, bytes, and a JSON value or the fault of it


def _from_json(lines: Iterable[Line]) -> Iterator[_Found]:
    for line in lines:
        if line.broken or line.text.strip():
            yield line.number, line.size, parsed(line)


def _from_csv(lines: Iterable[Line], model: type[BaseModel]) -> Iterator[_Found]:
    rows = read_rows(lines)
    header = read_header(rows)
    _check_header(header, model)
    for row in rows:
        if row.broken:
            yield row.line, row.size, Fault(row.line, "row", "", row.broken, "row")
        else:
            cells = zip(header, (cell.strip() for cell in row.cells), strict=True)
            yield row.line, row.size, {title: cell for title, cell in cells if cell}


def _by_mapping(lines: Iterable[Line], form: Csv, cells: BaseModel) -> Iterator[_Found]:
    rows = read_rows(lines, form.delimiter)
    slots = slots_of(cells, read_header(rows), {})
    for row in rows:
        if row.broken:
            yield row.line, row.size, Fault(row.line, "row", "", row.broken, "row")
        else:
            read = ((slot.field, slot.read(row)) for slot in slots)
            yield row.line, row.size, {name: value for name, value in read if value is not None}


def _check_header(header: Sequence[str], model: type[BaseModel]) -> None:
    fields = model.model_fields
    wrong = sorted(set(header) - fields.keys()) or sorted(
        {t for t in header if header.count(t) > 1}
    )
    missing = [name for name, field in fields.items() if field.is_required() and name not in header]
    if wrong or missing:
        said = f"has no column {', '.join(missing)}" if missing else f"has {', '.join(wrong)}"
        raise InvalidInput(f"the file {said}; its columns can be {', '.join(fields)}, each once")


def _checked(line: int, size: int, data: Any, model: type[M], key: str) -> Record[M]:
    named = data.get(key) if isinstance(data, dict) else None
    name = named if isinstance(named, str) else None
    try:
        return Record(line, size, name, model.model_validate(data))
    except ValidationError as error:
        return Record(line, size, name, None, [fault_of(line, each) for each in problems(error)])
