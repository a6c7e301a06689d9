"""What strangers send: a small form of `python -m benchmarks.fuzz`, which sends 200,000."""

from __future__ import annotations

import asyncio
import json
import time
from pathlib import Path

import pytest

from benchmarks.fuzz.inputs import made
from benchmarks.fuzz.meter import LoopMeter
from benchmarks.fuzz.run import run


@pytest.mark.long
def test_mutated_inputs_are_refused_briefly_and_hold_up_nobody(tmp_path: Path) -> None:
    found = run(tmp_path, seed=7, count=400)

    assert sum(found.kinds.values()) == 400
    assert set(found.kinds) == {"document", "file", "message", "header set"}
    assert found.wrong() == []


@pytest.mark.long
def test_twenty_thousand_mutated_inputs(tmp_path: Path) -> None:
    assert run(tmp_path, seed=8, count=20_000).wrong() == []


def test_the_same_number_is_the_same_input() -> None:
    for number in range(50):
        assert made(1, number) == made(1, number)
    assert made(1, 3) != made(2, 3)


def test_the_meter_names_what_was_dear() -> None:
    meter = LoopMeter()

    def busy() -> None:
        until = time.thread_time() + 0.15
        while time.thread_time() < until:
            json.loads("[1]")

    async def work() -> None:
        asyncio.get_running_loop().call_soon(busy)
        await asyncio.sleep(0)
        await asyncio.sleep(0)

    with meter.installed():
        asyncio.run(work())

    dearest = meter.dearest()[0]
    assert dearest["ms"] >= 150
    assert dearest["callback"].endswith("busy")
