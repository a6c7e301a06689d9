"""The stream that keeps pages current: one look a second for all, none while nobody watches."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest

from tests.support import Mill
from tests.web.console.conftest import Browser, held
from web.console import live
from web.console.live import Live


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "EVERY", 0.02)
    monkeypatch.setattr(live, "TURN", 0.5)


async def watched(stream: Live, into: list[str]) -> None:
    async for event in stream.watch():
        into.append(event)


def test_all_who_watch_share_one_look_and_see_what_changes() -> None:
    looks: list[int] = []

    def look() -> str:
        looks.append(1)
        return f"<p>{len(looks) // 5}</p>"

    async def run() -> list[list[str]]:
        stream, seen = Live(look), [[] for _ in range(20)]
        await asyncio.gather(*(watched(stream, each) for each in seen))
        return seen

    seen = asyncio.run(run())

    changes = [[e for e in each if e.startswith("event: pulse")] for each in seen]
    assert all(each[0] == "retry: 1000\n\n" for each in seen)
    assert all(2 <= len(each) <= len(looks) // 5 + 2 for each in changes)
    assert len(looks) <= 0.5 / 0.02 + 2


def test_nobody_looks_while_nobody_watches() -> None:
    looks: list[int] = []

    def look() -> str:
        looks.append(1)
        return "same"

    async def run() -> tuple[int, int]:
        stream = Live(look)
        await watched(stream, [])
        await asyncio.sleep(0.1)
        then = len(looks)
        await asyncio.sleep(0.2)
        return then, len(looks)

    then, later = asyncio.run(run())

    assert then == later > 0


def test_a_look_that_fails_ends_no_stream() -> None:
    looks: list[int] = []

    def look() -> str:
        looks.append(1)
        if len(looks) < 3:
            raise RuntimeError("the database is away")
        return "back"

    async def run() -> list[str]:
        seen: list[str] = []
        await watched(Live(look), seen)
        return seen

    assert asyncio.run(run())[-1] == "event: pulse\ndata: back\n\n"


def test_streams_end_when_the_process_is_told_to_stop(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live, "TURN", 60.0)

    async def run() -> None:
        stream = Live(lambda: "same")
        task = asyncio.create_task(watched(stream, []))
        await asyncio.sleep(0.1)
        stream.stop()
        await asyncio.wait_for(task, 5)

    asyncio.run(run())


def test_the_stream_has_the_fragments_of_the_pages(
    browser: Callable[..., Browser], shop: Mill
) -> None:
    held(shop, 3)

    answer = browser("viewer").get("/live")

    assert answer.headers["content-type"].startswith("text/event-stream")
    assert "3 on hold: country held" in answer.text
    for part in ("held-badge", "attention", "queues", "charts", "workers", "held"):
        assert f'id="{part}"' in answer.text
    assert "csrf" not in answer.text
