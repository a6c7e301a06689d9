"""The reject file: a CSV with one line for each fault, written as the import goes."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from pipeline.errors import InvalidInput
from pipeline.intake.files.fault import Fault

#: Takes the order (or SKU) that was refused and what is wrong with it.
WriteRejects = Callable[[str | None, Sequence[Fault]], None]

COLUMNS = ("line", "external_id", "field", "value", "reason")


@contextmanager
def reject_file(path: Path | None, key: str = "external_id") -> Iterator[WriteRejects]:
    """Replaces the file at `path`; None writes nothing. `key` is the title of the second column.

    Importing again refuses the same again, so a file cut short by a crash is whole after that.
    """
    if path is None:
        yield lambda _key, _faults: None
        return
    try:
        # An order may hold what no encoding can: it must not end the import here.
        file = path.open("w", encoding="utf-8", errors="backslashreplace", newline="")
    except OSError as error:
        raise InvalidInput(f"{path} can't be written: {error.strerror}") from None
    with file:
        writer = csv.writer(file)
        writer.writerow([key if column == "external_id" else column for column in COLUMNS])

        def write(name: str | None, faults: Sequence[Fault]) -> None:
            writer.writerows((f.line, name or "", f.field, f.value, f.reason) for f in faults)
            file.flush()

        yield write
