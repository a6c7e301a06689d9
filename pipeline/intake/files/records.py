"""One record a line: JSON lines, or CSV whose header bears the fields' own names."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from pydantic import BaseModel, ValidationError

from pipeline.errors import InvalidInput
from pipeline.formulas import as_it_was
from pipeline.intake.files.fault import Fault, fault_of
from pipeline.intake.files.kinds import unlike_json_lines
from pipeline.intake.files.lines import Line, TextFile
from pipeline.intake.files.mapping import Cell, Csv
from pipeline.intake.files.parse import parsed
from pipeline.intake.files.rows import Row, read_header, read_rows
from pipeline.intake.files.slots import Slot, slots_of
from pipeline.problems import fit_to_show, problems

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
    file: TextFile,
    path: Path,
    model: type[M],
    form: Csv | None = None,
    cells: BaseModel | None = None,
) -> Iterator[Record[M]]:
    """The records of `file`, checked against `model`, whose first field names a record.

    CSV if `path` says so (.csv or .csv.gz), or if there is a `form` (how it is written) and `path`
    doesn't say that it is JSON (.jsonl); otherwise JSON lines. An empty cell is a field left out. The
    header bears the fields' own names, or any where a table of `cells` says which column is which
    field. InvalidInput if the header lacks a field that must be there, or has one that is none.
    """
    if not _is_csv(path, form):
        if problem := unlike_json_lines(file.start):
            raise InvalidInput(f"{path} is {problem}")
        found = _from_json(file)
    else:
        form = form or Csv()
        rows = read_rows(file, form)
        header = read_header(rows)
        slots = (
            _own_slots(header, model, form)
            if cells is None
            else slots_of(cells, header, {}, numbers=form.numbers)
        )
        found = _from_rows(rows, slots)
        if cells is None:
            found = ((line, size, _as_written(data)) for line, size, data in found)
    key = next(iter(model.model_fields))
    for line, size, data in found:
        if isinstance(data, Fault):
            yield Record(line, size, None, None, [data])
        else:
            yield _checked(line, size, data, model, key)


def _is_csv(path: Path, form: Csv | None) -> bool:
    if ".csv" in path.suffixes:
        return True
    return form is not None and not _JSON.intersection(path.suffixes)


_JSON = frozenset({".jsonl", ".ndjson", ".json"})
_Found = tuple[int, int, Any]  # line, bytes, and a JSON value or the fault of it


def _from_json(lines: Iterable[Line]) -> Iterator[_Found]:
    for line in lines:
        if line.broken or line.text.strip():
            yield line.number, line.size, parsed(line)


def _from_rows(rows: Iterable[Row], slots: Sequence[Slot]) -> Iterator[_Found]:
    for row in rows:
        if row.broken:
            yield row.line, row.size, Fault(row.line, "row", "", row.broken, "row")
        elif refused := next(((s, said) for s in slots if (said := s.refuses(row))), None):
            slot, expected = refused
            value = fit_to_show(slot.raw(row))
            yield row.line, row.size, Fault(row.line, slot.title, value, expected, slot.field)
        else:
            read = ((slot.field, slot.read(row)) for slot in slots)
            yield row.line, row.size, {name: value for name, value in read if value is not None}


def _as_written(data: Any) -> Any:
    """Of a file in our own form, which we may have written: texts as they were before that."""
    if isinstance(data, Fault):
        return data
    return {k: as_it_was(v) if isinstance(v, str) else v for k, v in data.items()}


def _own_slots(header: Sequence[str], model: type[BaseModel], form: Csv) -> list[Slot]:
    """Of a header that bears the fields' own names."""
    _check_header(header, model)
    cells = {title: Cell(column=title, clean=("strip",)) for title in header}
    return slots_of(cells, header, {}, numbers=form.numbers)


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
