"""What can be read only once (standard input, a pipe) goes to disk first, as importing reads twice."""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pipeline.errors import InvalidInput

STDIN = Path("-")


@contextmanager
def on_disk(path: Path) -> Iterator[Path]:
    """`path`, or a file that holds what comes from it and is gone afterwards; `-` is standard input.
    InvalidInput if it can't be read, or be kept."""
    if path != STDIN and (path.is_file() or not path.exists()):
        yield path
        return
    with tempfile.TemporaryDirectory(prefix="ordermill-") as folder:
        name = "standard input" if path == STDIN else path.name
        copy = Path(folder) / name
        try:
            with copy.open("wb") as file:
                if path == STDIN:
                    shutil.copyfileobj(sys.stdin.buffer, file)
                else:
                    with path.open("rb") as pipe:
                        shutil.copyfileobj(pipe, file)
        except OSError as error:
            raise InvalidInput(f"{name} can't be read: {error.strerror}") from None
        yield copy
