"""One look at the database a second for all who watch, and none while nobody does."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import suppress

from fastapi.concurrency import run_in_threadpool

from pipeline.redaction import describe

log = logging.getLogger(__name__)

EVERY = 1.0
#: Seconds after which a viewer has to come again, so that who is signed out sees no more.
TURN = 60.0
#: Seconds of silence after which a word is said, to find out who has gone.
SILENCE = 15.0


class Live:
    """`look` makes the fragments that are sent: HTML, the same for every viewer."""

    def __init__(self, look: Callable[[], str]) -> None:
        self._look = look
        self._watchers = 0
        self._number, self._seen = 0, ""
        self._stopped = False
        self._changed = asyncio.Condition()
        self._looking: asyncio.Task[None] | None = None

    def stop(self) -> None:
        """Let all streams end, so that the process can."""
        self._stopped = True

    async def watch(self) -> AsyncIterator[str]:
        """Events for one viewer: what there is, and then whatever changes."""
        loop = asyncio.get_running_loop()
        over, known = loop.time() + TURN, 0
        self._watchers += 1
        if self._looking is None or self._looking.done():
            self._looking = asyncio.create_task(self._look_until_nobody_watches())
        try:
            yield "retry: 1000\n\n"
            said = loop.time()
            while not self._stopped and loop.time() < over:
                async with self._changed:
                    with suppress(TimeoutError):
                        await asyncio.wait_for(self._changed.wait(), EVERY * 2)
                if self._number > known:
                    known, said = self._number, loop.time()
                    yield _event(self._seen)
                elif loop.time() - said > SILENCE:
                    said = loop.time()
                    yield ": still here\n\n"
        finally:
            self._watchers -= 1

    async def _look_until_nobody_watches(self) -> None:
        while self._watchers and not self._stopped:
            try:
                seen = await run_in_threadpool(self._look)
            except Exception as error:  # the database is away: the next look may do
                log.warning("the console can't look: %s", describe(error))
                seen = self._seen
            async with self._changed:
                if seen != self._seen:
                    self._seen, self._number = seen, self._number + 1
                self._changed.notify_all()
            await asyncio.sleep(EVERY)


def _event(text: str) -> str:
    return "event: pulse\n" + "".join(f"data: {line}\n" for line in text.splitlines()) + "\n"
