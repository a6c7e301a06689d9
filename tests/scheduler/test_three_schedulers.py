"""Three schedulers for ten minutes of the database's clock, one on a host whose clock is hours off,
one killed and one frozen in the middle of a run: every due moment is run exactly once."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from pipeline.storage import job_runs, processes
from pipeline.storage.database import Database
from tests.scheduler.scheduler_process import SPEED

pytestmark = pytest.mark.long

PATIENCE = 30.0
EVERY = {"by-the-minute": 60, "every-other": 120, "slow": 60}
Start = Callable[..., subprocess.Popen[bytes]]


@pytest.fixture
def start(database: Database, tmp_path: Path) -> Iterator[Start]:
    """Starts a scheduler: `hours` its host's clock is off, `tick` seconds between its looks."""
    since = time.time() // 120 * 120  # so that no moment is just going by when they begin
    url = database.url.render_as_string(hide_password=False)
    started: list[subprocess.Popen[bytes]] = []

    def start(*, hours: float = 0.0, tick: float = 0.23) -> subprocess.Popen[bytes]:
        told = [url, tmp_path / "home", since, hours, tick]
        process = subprocess.Popen(
            [sys.executable, "-m", "tests.scheduler.scheduler_process", *map(str, told)],
            stderr=(tmp_path / "stderr").open("ab"),
            env={**os.environ, "PYTHONPATH": os.getcwd()},
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.send_signal(signal.SIGCONT)
        process.kill()
        process.wait()


def runs(database: Database) -> list[Any]:
    """Oldest first."""
    with database.snapshot() as tx:
        return job_runs.history(tx, 1000)[::-1]


def await_run(database: Database, condition: Callable[[Any], bool]) -> Any:
    """The first run that meets the condition; fails if none does in time."""
    give_up = time.monotonic() + PATIENCE
    while True:
        for run in runs(database):
            if condition(run):
                return run
        assert time.monotonic() < give_up, [tuple(run) for run in runs(database)]
        time.sleep(0.02)


def await_schedulers(database: Database, number: int) -> None:
    give_up = time.monotonic() + PATIENCE
    while True:
        with database.snapshot() as tx:
            if len(processes.all_processes(tx)) == number:
                return
        assert time.monotonic() < give_up
        time.sleep(0.02)


def in_hand_of(process: subprocess.Popen[bytes]) -> Callable[[Any], bool]:
    by = f":{process.pid}"
    return lambda run: run.job == "slow" and run.state == "running" and run.by.endswith(by)


def gaps(of: list[Any], job: str) -> list[int]:
    """How many moments lie between one run of the job and the next: 1 is the very next one."""
    moments = [run.fire_at for run in of if run.job == job]
    step = timedelta(seconds=EVERY[job])
    return [(b - a) // step for a, b in pairwise(moments)]


@pytest.mark.timeout(180)
def test_every_due_moment_is_run_once_and_missed_ones_once_on_return(
    database: Database, tmp_path: Path, start: Start
) -> None:
    # Who looks more often gets most of the runs: so the two have one in hand when it strikes them.
    # None of their ticks divides a minute: nobody is always the first to see one begin.
    doomed, frozen, steady = start(tick=0.021), start(tick=0.053), start(tick=0.23, hours=3.0)
    await_schedulers(database, 3)

    began = time.monotonic()
    killed_in = await_run(database, in_hand_of(doomed))
    doomed.kill()
    await_run(database, lambda run: run.id == killed_in.id and run.state == "fine")
    frozen_in = await_run(database, in_hand_of(frozen))
    frozen.send_signal(signal.SIGSTOP)
    await_run(database, lambda run: run.id == frozen_in.id and run.state == "fine")
    frozen.send_signal(signal.SIGCONT)
    time.sleep(max(0.0, began + 8 * 60 / SPEED - time.monotonic()))
    for process in (frozen, steady):
        process.terminate()
        assert process.wait(PATIENCE) == 0
    before = runs(database)
    time.sleep(3.5 * 60 / SPEED)  # nobody is there for three moments at least
    back = start(hours=-3.0)
    caught_up = {job: await_run(database, newer_than(before, job)) for job in EVERY}
    await_run(database, lambda run: run.job == "slow" and run.fire_at > caught_up["slow"].fire_at)
    back.terminate()
    assert back.wait(PATIENCE) == 0
    after = runs(database)

    assert {run.state for run in after} == {"fine"}
    # Those that were struck in the middle of a run: another has done it, and they did not write.
    attempts = {run.id: run.attempt for run in after}
    assert {i for i, n in attempts.items() if n > 1} == {killed_in.id, frozen_in.id}
    refused = "job slow ended (failed) after it was taken from us"
    assert refused in (tmp_path / "stderr").read_text()
    # While one was there, no moment was left out; when all were away, one run caught up.
    for job in EVERY:
        assert set(gaps(before, job)) == {1}, job
        missed = gaps(after, job)[len(gaps(before, job))]
        assert missed >= (3 if EVERY[job] == 60 else 2) - 1, job
    # And every run was really begun once, but for the two.
    ran = Counter(line.split()[0] for line in (tmp_path / "home" / "ran").read_text().splitlines())
    written = Counter(run.job for run in after)
    assert ran == written + Counter({"slow": 2})


def newer_than(before: list[Any], job: str) -> Callable[[Any], bool]:
    last = max(run.id for run in before)
    return lambda run: run.job == job and run.id > last and run.state == "fine"
