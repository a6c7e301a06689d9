"""Three schedulers for ten minutes of the database's clock, one on a host whose clock is hours off,
one killed and one frozen in the middle of a run: every due moment is run exactly once.

The processes are real, the time isn't: it stands still until what is to happen at it has happened,
however busy the machine.
"""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import DateTime, bindparam, text

from pipeline.storage import job_runs, processes
from pipeline.storage.database import Database
from pipeline.storage.sql import UtcDateTime
from tests.scheduler.scheduler_process import LEASE, SLOW

PATIENCE = 60.0
EVERY = {"by-the-minute": 60, "every-other": 120, "slow": 60}
BEGINNING = datetime(2030, 6, 1, 12, 0, tzinfo=UTC)
REFUSED = "job slow ended (failed) after it was taken from us"
Process = subprocess.Popen[bytes]


class Clock:
    """The database's, and moved by hand."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self.now = BEGINNING
        kind = DateTime(timezone=True).compile(database.engine.dialect)
        with database.transaction() as tx:
            tx.execute(text(f"CREATE TABLE simulated_clock (at {kind})"))
            tx.execute(text("INSERT INTO simulated_clock (at) VALUES (NULL)"))
        self.pass_by(0)

    def pass_by(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)
        move = text("UPDATE simulated_clock SET at = :at")
        with self._database.transaction() as tx:
            tx.execute(move.bindparams(bindparam("at", type_=UtcDateTime())), {"at": self.now})

    def put_away(self) -> None:
        with self._database.transaction() as tx:
            tx.execute(text("DROP TABLE simulated_clock"))


@pytest.fixture
def clock(database: Database) -> Iterator[Clock]:
    made = Clock(database)
    yield made
    made.put_away()


@pytest.fixture
def start(database: Database, clock: Clock, tmp_path: Path) -> Iterator[Callable[..., Process]]:
    """Starts a scheduler: `hours` its host's clock is off, `tick` seconds between its looks."""
    url = database.url.render_as_string(hide_password=False)
    started: list[Process] = []

    def start(*, hours: float = 0.0, tick: float = 0.1) -> Process:
        told = [url, tmp_path / "home", hours, tick]
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


def until(is_so: Callable[[], Any], otherwise: Callable[[], object]) -> Any:
    """What it says once it says something; fails if it doesn't in time."""
    give_up = time.monotonic() + PATIENCE
    while not (said := is_so()):
        assert time.monotonic() < give_up, otherwise()
        time.sleep(0.02)
    return said


def runs(database: Database) -> list[Any]:
    """Oldest first."""
    with database.snapshot() as tx:
        return job_runs.history(tx, 1000)[::-1]


def await_run(database: Database, job: str, moment: datetime, state: str) -> Any:
    def found() -> Any:
        its = [run for run in runs(database) if (run.job, run.fire_at) == (job, moment)]
        return its[0] if its and its[0].state == state else None

    return until(found, lambda: [tuple(run) for run in runs(database)])


def await_schedulers(database: Database, number: int) -> None:
    def there() -> bool:
        with database.snapshot() as tx:
            return len(processes.all_processes(tx)) == number

    until(there, lambda: f"not {number} schedulers")


def freeze(process: Process, database: Database) -> None:
    """Not in the middle of writing: on SQLite everybody would wait for as long as it is frozen."""
    while True:
        process.send_signal(signal.SIGSTOP)
        if not database.is_sqlite:
            return
        hand = sqlite3.connect(str(database.url.database), timeout=1.0, isolation_level=None)
        try:
            hand.execute("BEGIN IMMEDIATE")
            hand.execute("ROLLBACK")
            return
        except sqlite3.OperationalError:
            process.send_signal(signal.SIGCONT)
        finally:
            hand.close()


def gaps(of: list[Any], job: str) -> list[int]:
    """How many moments lie between one run of the job and the next: 1 is the very next one."""
    moments = [run.fire_at for run in of if run.job == job]
    step = timedelta(seconds=EVERY[job])
    return [(b - a) // step for a, b in pairwise(moments)]


@pytest.mark.timeout(300)
def test_every_due_moment_is_run_once_and_missed_ones_once_on_return(
    database: Database, clock: Clock, tmp_path: Path, start: Callable[..., Process]
) -> None:
    alive = {p.pid: p for p in (start(tick=0.11), start(tick=0.13), start(tick=0.17, hours=3.0))}
    await_schedulers(database, 3)

    def ran() -> Counter[str]:
        """How often each job has really begun."""
        lines = (tmp_path / "home" / "ran").read_text().splitlines()
        return Counter(line.split()[0] for line in lines)

    def in_hand(moment: datetime, attempt: int) -> Any:
        """The run of `slow`, once somebody has really begun that attempt at it."""

        def begun() -> Any:
            run = await_run(database, "slow", moment, "running")
            attempts = sum(each.attempt for each in runs(database) if each.job == "slow")
            return run if run.attempt == attempt and ran()["slow"] == attempts else None

        return until(begun, lambda: f"attempt {attempt} at the run of {moment} has not begun")

    def begun(moment: datetime) -> Process:
        """All that is due then is done, but for `slow`: it is in the hands of this one."""
        for job in ("by-the-minute", "every-other"):
            if (moment - BEGINNING).total_seconds() % EVERY[job] == 0:
                await_run(database, job, moment, "fine")
        return alive[int(in_hand(moment, 1).by.rpartition(":")[2])]

    def ended(moment: datetime) -> Any:
        clock.pass_by(SLOW + 1)
        return await_run(database, "slow", moment, "fine")

    def taken_over(moment: datetime) -> Any:
        """It has been silent for too long: another begins anew, and ends."""
        clock.pass_by(LEASE + 1)
        in_hand(moment, 2)
        return ended(moment)

    struck: list[int] = []
    for minute in range(9):
        moment = BEGINNING + timedelta(minutes=minute)
        clock.pass_by((moment - clock.now).total_seconds())
        runner = begun(moment)
        if minute == 3:
            runner.kill()
            del alive[runner.pid]
            struck.append(taken_over(moment).id)
        elif minute == 6:
            freeze(runner, database)
            struck.append(taken_over(moment).id)
            runner.send_signal(signal.SIGCONT)
            until(
                lambda: REFUSED in (tmp_path / "stderr").read_text(),
                lambda: "what was frozen has not been refused",
            )
        else:
            ended(moment)
    for process in alive.values():
        process.terminate()
        assert process.wait(PATIENCE) == 0
    before = runs(database)
    back_at = BEGINNING + timedelta(minutes=12)  # nobody was there at the three before
    clock.pass_by((back_at - clock.now).total_seconds())
    back = start(hours=-3.0)
    alive[back.pid] = back
    begun(back_at)
    ended(back_at)
    back.terminate()
    assert back.wait(PATIENCE) == 0
    after = runs(database)

    assert {run.state for run in after} == {"fine"}
    # Those that were struck in the middle of a run: another has done it, and they did not write.
    assert [run.id for run in after if run.attempt > 1] == struck
    # While one was there, no moment was left out; when all were away, one run caught up.
    for job, caught_up in (("by-the-minute", 4), ("every-other", 2), ("slow", 4)):
        assert set(gaps(before, job)) == {1}, job
        assert gaps(after, job) == [*gaps(before, job), caught_up], job
    # And every run was really begun once, but for the two.
    written = Counter(run.job for run in after)
    assert ran() == written + Counter({"slow": 2})
