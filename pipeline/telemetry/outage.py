"""Saying that something is away: each cause once, then once a minute how often, and when it is over."""

from __future__ import annotations

import logging
import threading
import time
from dataclasses import dataclass

from pipeline.redaction import describe

#: Seconds between two lines about the same cause.
EVERY = 60.0
_LONGEST = 500


@dataclass(slots=True)
class _Cause:
    told_at: float
    untold: int = 0


class Outage:
    """What keeps failing, told in few lines. Safe to use from many threads.

    `what` begins each line, as in "no hint can be sent". A cause is a kind of error. One that was
    told within the last minute is only counted; the next line about it has the count.
    """

    def __init__(self, log: logging.Logger, what: str) -> None:
        self._log = log
        self._what = what
        self._lock = threading.Lock()
        self._causes: dict[type[BaseException], _Cause] = {}
        self._since: float | None = None
        self._failures = 0
        self._is_told = False

    def failed(self, error: BaseException, *, is_defect: bool = False) -> None:
        """It failed once more, for this reason. Of a defect the line has the traceback."""
        at = time.monotonic()
        with self._lock:
            if self._since is None:
                self._since, self._failures = at, 0
            self._failures += 1
            cause = self._causes.get(type(error))
            if cause is not None and at - cause.told_at < EVERY:
                cause.untold += 1
                return
            more = 0 if cause is None else cause.untold
            self._causes[type(error)] = _Cause(at)
            self._is_told = True
        told = describe(error).partition("\n")[0][:_LONGEST]
        again = f" (and {more} times before)" if more else ""
        trace = error if is_defect else None
        self._log.warning("%s: %s%s", self._what, told, again, exc_info=trace)

    def worked(self) -> None:
        """It worked. That it is over is told if that it failed was."""
        if self._since is None:  # nothing has to be locked while all is well
            return
        with self._lock:
            since, is_told = self._since, self._is_told
            self._since, self._is_told = None, False
        if since is not None and is_told:
            seconds = time.monotonic() - since
            self._log.warning(
                "%s: over after %.0f s, %d failures", self._what, seconds, self._failures
            )
