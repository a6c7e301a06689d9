"""The reject file: a CSV with one line for each fault, written as the import goes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from pipeline.formulas import write_rows
from pipeline.intake.files.fault import Fault
from pipeline.intake.files.output import open_output
from pipeline.problems import name_to_show

#: Takes the order (or SKU) that was refused and what is wrong with it.
WriteRejects = Callable[[str | None, Sequence[Fault]], None]


@contextmanager
def reject_file(path: Path | None, of: Path, key: str = "external_id") -> Iterator[WriteRejects]:
    """Replaces the file at `path`; None writes nothing. `of` is what is imported, `key` the title
    of the second column.

    Importing again refuses the same again, so a file cut short by a crash is whole after that.
    """
    if path is None:
        yield lambda _key, _faults: None
        return
    with open_output(path, [of]) as file:
        write_rows(file, [("line", key, "field", "value", "reason")])

        def write(name: str | None, faults: Sequence[Fault]) -> None:
            shown = name_to_show(name or "")
            write_rows(file, ((f.line, shown, f.field, f.value, f.reason) for f in faults))
            file.flush()

        yield write
