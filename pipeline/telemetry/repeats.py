"""What is said again and again is said once, with a count: the log of an outage must not fill the disk
that it is on, nor hide what else happens."""

from __future__ import annotations

import logging
import re
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

#: Seconds after which the same is said again, with how often it was left out.
WINDOW = 60.0
#: Causes that are known at once; beyond, all is said.
MOST = 1_000

# What differs between two sayings of the same: ids and numbers.
_NUMBERS = re.compile(r"[0-9a-f]{8}-[0-9a-f-]{27}|\d+", re.ASCII)

_Cause = tuple[str, int, str, str]


@dataclass(slots=True)
class _Said:
    """When it was said last, what it began with, and how often it was left out since."""

    at: float
    words: str
    left_out: int = 0


class Repeats(logging.Filter):
    """Of a handler: lets the first of what warns of the same pass, and counts the others. The next
    after a minute says how many they were; if none comes, a line of its own does."""

    def __init__(
        self, handler: logging.Handler, clock: Callable[[], float] = time.monotonic
    ) -> None:
        super().__init__()
        self._handler = handler
        self._clock = clock
        self._said: dict[_Cause, _Said] = {}
        self._lock = threading.Lock()
        self._timer: threading.Timer | None = None

    def filter(self, record: logging.LogRecord) -> bool:
        """As in `Filter`."""
        if record.levelno < logging.WARNING or hasattr(record, "tells_repeats"):
            return True
        cause, now = _cause(record), self._clock()
        with self._lock:
            said = self._said.get(cause)
            if said is not None and now - said.at < WINDOW:
                said.left_out += 1
                self._remind()
                return False
            if said is None and len(self._said) >= MOST:
                self._forget(now)
            if said is not None or len(self._said) < MOST:
                self._said[cause] = _Said(now, record.getMessage().split("\n", 1)[0][:300])
        if said is not None and said.left_out:
            record.msg, record.args = f"{record.getMessage()} ({_told(said.left_out)})", None
        return True

    def _forget(self, now: float) -> None:
        """Those that nobody repeated."""
        self._said = {
            cause: said
            for cause, said in self._said.items()
            if said.left_out or now - said.at < WINDOW
        }

    def tell(self) -> None:
        """Say of what was left out, and has not come again for a minute, how often it was."""
        now = self._clock()
        with self._lock:
            self._timer = None
            over = {c: said for c, said in self._said.items() if now - said.at >= WINDOW}
            for cause in over:
                del self._said[cause]
            if any(said.left_out for said in self._said.values()):
                self._remind()
        for (name, level, *_), said in over.items():
            if said.left_out:
                self._handler.handle(_reminder(name, level, said))

    def _remind(self) -> None:
        if self._timer is None:
            self._timer = threading.Timer(WINDOW, self.tell)
            self._timer.daemon = True
            self._timer.start()


def _cause(record: logging.LogRecord) -> _Cause:
    error = record.exc_info[1] if record.exc_info else None
    said = "" if error is None else f"{type(error).__name__}: {error}"
    return record.name, record.levelno, _same(record.getMessage()), _same(said)


def _same(words: str) -> str:
    return _NUMBERS.sub("#", words)


def _reminder(name: str, level: int, said: _Said) -> logging.LogRecord:
    return logging.makeLogRecord(
        {
            "name": name,
            "levelno": level,
            "levelname": logging.getLevelName(level),
            "msg": f"{_told(said.left_out)}: {said.words}",
            "tells_repeats": True,
        }
    )


def _told(times: int) -> str:
    return f"{times:,} times more since it was last said"
