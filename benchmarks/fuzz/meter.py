"""How much CPU each callback of an event loop takes: for so long it serves nobody else."""

from __future__ import annotations

import asyncio
import heapq
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from pipeline.telemetry import logs

#: The dearest callbacks that are remembered.
KEPT = 20


class LoopMeter:
    """Measures the callbacks of every loop of this process while it is installed."""

    def __init__(self) -> None:
        self.callbacks = 0
        self._dearest: list[tuple[float, int, str, str]] = []

    @contextmanager
    def installed(self) -> Iterator[None]:
        run = asyncio.Handle._run

        def measured(handle: asyncio.Handle) -> None:
            began = time.thread_time()
            run(handle)
            self._note(time.thread_time() - began, handle)

        # asyncio has no hook for it.
        asyncio.Handle._run = measured  # type: ignore[method-assign]
        try:
            yield
        finally:
            asyncio.Handle._run = run  # type: ignore[method-assign]

    def begin(self) -> None:
        """Forget what was measured so far: a process' first requests load what they need."""
        self.callbacks = 0
        self._dearest.clear()

    def dearest(self) -> list[dict[str, Any]]:
        """The dearest first: `ms` of CPU, the callback, and the request's id where it was for one."""
        return [
            {"ms": round(seconds * 1000, 1), "callback": callback, "request": request}
            for seconds, _, callback, request in sorted(self._dearest, reverse=True)
        ]

    def _note(self, seconds: float, handle: asyncio.Handle) -> None:
        self.callbacks += 1
        if len(self._dearest) == KEPT and seconds <= self._dearest[0][0]:
            return
        # What the callback is and for which request stands in attributes that asyncio keeps to itself.
        fields: Any = handle._context.get(logs._fields, {})  # type: ignore[attr-defined]
        callback = getattr(handle._callback, "__qualname__", "a step of a task")  # type: ignore[attr-defined]
        entry = (seconds, self.callbacks, str(callback), str(fields.get("request", "")))
        keep = heapq.heappush if len(self._dearest) < KEPT else heapq.heapreplace
        keep(self._dearest, entry)
