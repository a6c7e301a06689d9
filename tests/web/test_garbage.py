"""Python's collector looks through all objects of `web` while nobody's document is among them."""

from __future__ import annotations

import asyncio
import gc
import threading
import weakref

from starlette.concurrency import run_in_threadpool

from web.garbage import PUT_OFF_AT_MOST, collected_when_idle

SOON = 0.01


class Document:
    def __init__(self) -> None:
        self.itself = self


def test_what_is_old_and_refers_to_itself_is_collected_though_python_would_not() -> None:
    async def live() -> None:
        async with collected_when_idle(SOON):
            await _gone(_forgotten())

    asyncio.run(asyncio.wait_for(live(), 60))


def test_while_requests_are_worked_on_it_is_put_off_but_not_for_ever() -> None:
    looks = 0

    def look(phase: str, info: dict[str, int]) -> None:
        nonlocal looks
        looks += phase == "start" and info["generation"] == 2

    async def live() -> None:
        done = threading.Event()
        working = asyncio.create_task(run_in_threadpool(done.wait, 60))
        async with collected_when_idle(SOON):
            await asyncio.sleep(0)  # the work has begun
            document = _forgotten()
            gc.callbacks.append(look)
            began = asyncio.get_running_loop().time()
            await _gone(document)
            waited = asyncio.get_running_loop().time() - began
        done.set()
        await working
        assert looks == 1
        assert waited >= (PUT_OFF_AT_MOST - 1) * SOON

    try:
        asyncio.run(asyncio.wait_for(live(), 60))
    finally:
        gc.callbacks.remove(look)


def test_the_thresholds_are_python_s_again_afterwards() -> None:
    before = gc.get_threshold()

    async def live() -> None:
        async with collected_when_idle():
            assert gc.get_threshold() != before

    asyncio.run(live())
    assert gc.get_threshold() == before


def _forgotten() -> weakref.ref[Document]:
    """A document that is in the oldest generation, and that nobody has any more."""
    document = Document()
    gc.collect()
    return weakref.ref(document)


async def _gone(document: weakref.ref[Document]) -> None:
    while document() is not None:
        await asyncio.sleep(SOON)
