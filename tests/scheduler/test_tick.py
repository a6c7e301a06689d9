"""Each due moment of each job is run once, whoever notices it first, and its end is written down."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from pipeline.assembly import Application, assemble
from pipeline.settings import Settings
from pipeline.storage import clock, job_runs
from pipeline.storage.database import Database
from scheduler.table import JOBS, Job
from scheduler.tick import due_moment, run_now, tick, whoami

#: So many seconds that no test meets the next moment: one was in 2001, the next is in 2033.
AGE = 1_000_000_000


class Silent:
    def announce(self, step: str, dispatch_id: int) -> None:
        """Nobody listens."""


@pytest.fixture
def app(database: Database, tmp_path: Path) -> Iterator[Application]:
    url = database.url.render_as_string(hide_password=False)
    made = assemble(Settings(_env_file=None, home=tmp_path / "home", database_url=url), Silent())
    yield made
    made.close()


def job(run: Callable[[Application], dict[str, Any]], every: int = AGE) -> Job:
    return Job("count-stock", every, "count what is on the shelves", run)


def history(app: Application) -> list[Any]:
    with app.database.snapshot() as tx:
        return job_runs.history(tx, 10)


@pytest.mark.parametrize(
    ("every", "at", "moment"),
    [
        (60, "12:00:00", "12:00:00"),
        (60, "12:00:59.999", "12:00:00"),
        (60, "12:01:00", "12:01:00"),
        (10, "12:00:59", "12:00:50"),
        (3600, "12:59:59", "12:00:00"),
        (86_400, "23:59:59", "00:00:00"),
    ],
)
def test_a_job_is_due_at_whole_multiples_of_its_interval(every: int, at: str, moment: str) -> None:
    at_that_day = [datetime.fromisoformat(f"2026-03-29T{t}+00:00") for t in (at, moment)]

    assert due_moment(job(lambda _: {}, every), at_that_day[0]) == at_that_day[1]


def test_ten_who_tick_at_once_run_the_job_once(app: Application) -> None:
    ran: list[str] = []
    counting = job(lambda _: ran.append(threading.current_thread().name) or {"counted": 3})
    gate = threading.Barrier(10)

    def tick_with_the_others(_: int) -> bool:
        gate.wait(30)
        return tick(app, counting)

    with ThreadPoolExecutor(10) as threads:
        ticked = list(threads.map(tick_with_the_others, range(10)))

    assert sorted(ticked) == [False] * 9 + [True]
    assert len(ran) == 1
    assert len(history(app)) == 1


def test_a_run_is_written_with_its_moment_its_runner_and_its_result(app: Application) -> None:
    tick(app, job(lambda _: {"counted": 3}))

    [run] = history(app)

    assert (run.job, run.fire_at) == ("count-stock", datetime.fromtimestamp(AGE, UTC))
    assert (json.loads(run.result), run.error) == ({"counted": 3}, None)
    assert run.by == whoami()
    assert run.started_at <= run.finished_at


def test_moments_missed_while_all_were_down_are_caught_up_once(app: Application) -> None:
    ran: list[int] = []
    hourly = job(lambda _: ran.append(1) or {}, every=3600)
    with app.database.transaction() as tx:
        moment = due_moment(hourly, clock.read(tx))
        three_hours_ago = datetime.fromtimestamp(moment.timestamp() - 3 * 3600, UTC)
        assert job_runs.begin(tx, hourly.name, three_hours_ago, "another")

    ticked = [tick(app, hourly) for _ in range(3)]

    assert ticked.count(True) == len(ran) == len(history(app)) - 1
    assert ticked[0]
    assert history(app)[0].fire_at >= moment


def test_a_job_that_fails_is_written_as_failed_and_the_tick_goes_on(app: Application) -> None:
    def fail(_: Application) -> dict[str, Any]:
        raise ValueError("the shelf is gone")

    assert tick(app, job(fail)) is True

    [run] = history(app)
    assert (run.result, run.error) == (None, "ValueError: the shelf is gone")
    assert run.finished_at is not None
    assert tick(app, job(fail)) is False


def test_a_run_at_a_persons_word_is_beside_the_schedule(app: Application) -> None:
    counting = job(lambda _: {"counted": 3})
    tick(app, counting)

    finished = run_now(app, counting)

    assert (finished.result, finished.error) == ('{"counted": 3}', None)
    assert len(history(app)) == 2
    assert tick(app, counting) is False


@pytest.mark.parametrize("name", JOBS)
def test_every_job_of_the_table_runs_on_an_empty_shop_and_says_what_it_did(
    app: Application, name: str
) -> None:
    finished = run_now(app, JOBS[name])

    assert finished.error is None
    assert isinstance(json.loads(finished.result or ""), dict)
