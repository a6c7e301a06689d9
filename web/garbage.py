"""When Python's garbage collector looks through all objects of `web`: while no request is worked on.

By itself it does so as soon as enough objects were added, and most are added by somebody's large
document: then it looks through that, too, for up to a quarter of a second in which no thread runs.
What is young it collects as ever.
"""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress

from anyio.to_thread import current_default_thread_limiter
from starlette.concurrency import run_in_threadpool

#: Seconds between two looks. If requests are worked on it is put off, but not for ever.
EVERY = 10.0
PUT_OFF_AT_MOST = 6

#: So many looks at younger objects go by before Python looks through all by itself.
_NEVER = 1_000_000


@asynccontextmanager
async def collected_when_idle(every: float = EVERY) -> AsyncGenerator[None, None]:
    """While the block runs, the oldest generation is collected here."""
    by_python = gc.get_threshold()
    gc.set_threshold(*by_python[:2], _NEVER)
    collecting = asyncio.create_task(_collect(every))
    try:
        yield
    finally:
        collecting.cancel()
        with suppress(asyncio.CancelledError):
            await collecting
        gc.set_threshold(*by_python)


async def _collect(every: float) -> None:
    at_work = current_default_thread_limiter()
    put_off = 0
    while True:
        await asyncio.sleep(every)
        if at_work.borrowed_tokens and put_off < PUT_OFF_AT_MOST:
            put_off += 1
            continue
        put_off = 0
        await run_in_threadpool(gc.collect)
