"""A file to write beside those that are read."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import IO

from pipeline.errors import InvalidInput


def open_output(path: Path, inputs: Iterable[Path]) -> IO[str]:
    """Open for writing, replacing what is there; InvalidInput if it can't be written, or would
    replace one of the `inputs`."""
    if path.exists() and any(path.samefile(each) for each in inputs):
        raise InvalidInput(f"{path} is what is read; write to another file")
    try:
        # An order may hold what no encoding can: it must not end the import.
        return path.open("w", encoding="utf-8", errors="backslashreplace", newline="")
    except OSError as error:
        raise InvalidInput(f"{path} can't be written: {error.strerror}") from None
