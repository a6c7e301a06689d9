"""What a run logs, kept with it: the records of its thread, redacted, the newest 64 kB of them."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager

from pipeline.redaction import Redact
from pipeline.telemetry.logs import TEXT

MOST_BYTES = 64 * 1024
_LEFT_OUT = "(earlier lines are left out)\n"
_FORMAT = logging.Formatter(TEXT)


class _Capture(logging.Handler):
    def __init__(self, redact: Redact) -> None:
        super().__init__()
        self.addFilter(redact)
        self._thread = threading.get_ident()
        self._lines: deque[bytes] = deque()
        self._room = MOST_BYTES - len(_LEFT_OUT)
        self._left_out = False

    def handle(self, record: logging.LogRecord) -> bool:
        """Only what the thread that captures has logged; its helpers' threads are others' too."""
        return record.thread == self._thread and bool(super().handle(record))

    def emit(self, record: logging.LogRecord) -> None:
        line = storable(_FORMAT.format(record) + "\n").encode("utf-8", "replace")
        self._room -= len(line)
        self._lines.append(line)
        while self._room < 0:
            oldest = self._lines.popleft()
            rest = oldest[-self._room :]
            self._room += len(oldest) - len(rest)
            self._left_out = True
            if rest:
                self._lines.appendleft(rest)

    def text(self) -> str:
        told = b"".join(self._lines).decode("utf-8", "ignore")
        return _LEFT_OUT + told if self._left_out else told


class Captured:
    """`text` is there once the block is over."""

    text = ""


@contextmanager
def captured(redact: Redact) -> Iterator[Captured]:
    """Keep what this thread logs in the block."""
    handler, kept = _Capture(redact), Captured()
    root = logging.getLogger()
    root.addHandler(handler)
    try:
        yield kept
    finally:
        root.removeHandler(handler)
        kept.text = handler.text()


def storable(text: str) -> str:
    """Without what a column of Postgres can't hold: NUL, and halves of surrogate pairs."""
    return text.replace("\0", "\N{REPLACEMENT CHARACTER}").encode("utf-8", "replace").decode()
