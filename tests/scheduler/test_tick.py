"""Each due moment of each job is run once, whoever notices it first, and its end is written down."""

from __future__ import annotations

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from pipeline.assembly import Application
from pipeline.storage import clock, job_runs
from scheduler.decision import Fire, GiveUp, Seen, Skip, Start, TakeOver, decide
from scheduler.job import Every
from scheduler.runner import Pace, Runner, whoami
from scheduler.table import JOBS
from scheduler.tick import run_until_ended, tick
from tests.scheduler.conftest import AGE, PATIENCE, history, job, run_due
from tests.support import ask


def counting(_: Application) -> dict[str, Any]:
    return {"counted": 3}


def failing(_: Application) -> dict[str, Any]:
    raise ValueError("the shelf is gone")


# --- What is to be done ---------------------------------------------------------------------------

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)


class Open:
    """A run of the job that is open."""

    def __init__(self, state: str, *, lapsed: bool = False, attempt: int = 1) -> None:
        self.id, self.job, self.state = 7, "count-stock", state
        self.lapsed, self.attempt = lapsed, attempt


WAITING, RUNNING = Open("waiting"), Open("running")
LAPSED, SPENT = Open("running", lapsed=True), Open("running", lapsed=True, attempt=3)


@pytest.mark.parametrize(
    ("overlap", "runs", "last", "expected"),
    [
        ("skip", [], None, Fire(NOON)),
        ("skip", [], NOON - HOUR, Fire(NOON)),
        ("skip", [], NOON - 5 * HOUR, Fire(NOON)),
        ("skip", [], NOON, None),
        ("skip", [], NOON + HOUR, None),
        ("skip", [RUNNING], NOON, None),
        ("skip", [RUNNING], NOON - HOUR, Skip(NOON)),
        ("after", [RUNNING], NOON - HOUR, None),
        ("skip", [WAITING], NOON, Start(7)),
        ("skip", [WAITING], NOON - HOUR, Start(7)),
        ("after", [RUNNING, WAITING], NOON, None),
        ("skip", [LAPSED], NOON, TakeOver(7)),
        ("skip", [LAPSED, WAITING], NOON - HOUR, TakeOver(7)),
        ("after", [SPENT], NOON - HOUR, GiveUp(7)),
    ],
)
def test_what_is_to_be_done_follows_from_what_the_table_says(
    overlap: Any, runs: list[Any], last: datetime | None, expected: Any
) -> None:
    hourly = job(counting, Every(3600), overlap=overlap)
    latest = {} if last is None else {"count-stock": last}

    assert decide(hourly, Seen(NOON + timedelta(minutes=5), runs, latest)) == expected


# --- Once -----------------------------------------------------------------------------------------


def test_ten_who_tick_at_once_run_the_job_once(app: Application) -> None:
    ran: list[str] = []
    counted = job(lambda _: ran.append(threading.current_thread().name) or {"counted": 3})
    gate = threading.Barrier(10)

    def tick_with_the_others(_: int) -> int:
        gate.wait(30)
        return run_due(app, counted)

    with ThreadPoolExecutor(10) as threads:
        begun = list(threads.map(tick_with_the_others, range(10)))

    assert sorted(begun) == [0] * 9 + [1]
    assert len(ran) == len(history(app)) == 1


def test_a_run_is_written_with_its_moment_its_runner_and_its_result(app: Application) -> None:
    run_due(app, job(counting))

    [run] = history(app)

    assert (run.job, run.fire_at) == ("count-stock", datetime.fromtimestamp(AGE, UTC))
    assert (run.state, json.loads(run.result), run.error) == ("fine", {"counted": 3}, None)
    assert (run.by, run.attempt, run.asked_by) == (whoami(), 1, None)
    assert run.started_at <= run.finished_at


def fired(app: Application, name: str, moment: datetime) -> bool:
    """Whether another could take the moment, who then does it."""
    with app.database.transaction() as tx:
        run = job_runs.fire(tx, name, moment, "token", "another", 15.0)
        return run is not None and job_runs.finish(tx, run, "token", "fine", "{}", None, "")


def test_moments_missed_while_all_were_down_are_caught_up_once(app: Application) -> None:
    ran: list[int] = []
    hourly = job(lambda _: ran.append(1) or {}, Every(3600))
    with app.database.snapshot() as tx:
        moment = hourly.schedule.latest(clock.read(tx))
    assert fired(app, hourly.name, moment - 3 * HOUR)

    begun = [run_due(app, hourly) for _ in range(3)]

    assert begun.count(1) == len(ran) == len(history(app)) - 1
    assert begun[0] == 1
    assert history(app)[0].fire_at >= moment


def test_who_comes_late_with_a_moment_that_was_caught_up_on_is_refused(app: Application) -> None:
    assert fired(app, "count-stock", NOON)

    late = [fired(app, "count-stock", moment) for moment in (NOON - HOUR, NOON, NOON + HOUR)]

    assert late == [False, False, True]


# --- How it ends ----------------------------------------------------------------------------------


def test_a_job_that_fails_is_written_as_failed_and_the_tick_goes_on(app: Application) -> None:
    assert run_due(app, job(failing)) == 1

    [run] = history(app)
    assert (run.state, run.result, run.error) == ("failed", None, "ValueError: the shelf is gone")
    assert run.finished_at is not None
    assert run_due(app, job(failing)) == 0


def test_a_result_that_a_person_should_look_at_is_a_problem(app: Application) -> None:
    run_due(app, job(counting, finds_problem=lambda told: told["counted"] > 2))

    [run] = history(app)
    assert (run.state, run.result) == ("problem", '{"counted": 3}')


def test_errors_hold_no_secret_and_nothing_a_database_cannot_keep(app: Application) -> None:
    def spill(_: Application) -> dict[str, Any]:
        raise ValueError("card 4111 1111 1111 1111, NUL \0")

    run_due(app, job(spill))

    assert history(app)[0].error == "ValueError: card (card number), NUL \N{REPLACEMENT CHARACTER}"


# --- Overlap --------------------------------------------------------------------------------------


@pytest.mark.parametrize(("overlap", "states"), [("skip", ["skipped"]), ("after", ["fine"])])
def test_a_moment_that_comes_while_the_job_is_running(
    app: Application, overlap: Any, states: list[str]
) -> None:
    go = threading.Event()
    slow = job(lambda _: {"waited": go.wait(PATIENCE)}, overlap=overlap)
    runner = Runner(app, Pace())
    ask(app, slow, "ada")
    with app.database.transaction() as tx:  # nothing is due yet
        job_runs.skip(tx, slow.name, datetime.fromtimestamp(AGE, UTC) - HOUR, "before all this")
    assert runner.act(slow, Start(history(app)[0].id))

    meanwhile = [tick(app.database, runner, [slow]) for _ in range(2)]
    go.set()
    assert runner.wait(PATIENCE)
    for _ in range(2):
        run_due(app, slow)

    assert meanwhile == [0, 0]
    on_schedule = [run for run in history(app) if run.fire_at == datetime.fromtimestamp(AGE, UTC)]
    assert [run.state for run in on_schedule] == states


# --- By hand --------------------------------------------------------------------------------------


def test_a_run_at_a_persons_word_is_beside_the_schedule(app: Application) -> None:
    counted = job(counting)
    run_due(app, counted)

    ended = run_until_ended(app, counted, ask(app, counted, "cli:ada"))

    assert (ended.state, ended.result, ended.asked_by) == ("fine", '{"counted": 3}', "cli:ada")
    assert len(history(app)) == 2
    assert run_due(app, counted) == 0


def test_what_a_person_asks_for_and_does_not_wait_for_is_done_by_a_scheduler(
    app: Application,
) -> None:
    counted = job(counting)
    run_due(app, counted)
    ask(app, counted, "cli:ada")

    assert run_due(app, counted) == 1

    assert [run.state for run in history(app)] == ["fine", "fine"]


def test_who_waits_no_longer_hands_the_run_back_and_a_scheduler_does_it(app: Application) -> None:
    go = threading.Event()
    slow = job(lambda _: {"waited": go.wait(PATIENCE)})
    run_id = ask(app, slow, "cli:ada")

    left = run_until_ended(app, slow, run_id, timeout=0.3)
    go.set()
    run_due(app, slow)

    assert (left.state, left.attempt) == ("waiting", 0)
    [ended] = [run for run in history(app) if run.id == run_id]
    assert (ended.state, ended.attempt) == ("fine", 1)


@pytest.mark.parametrize("name", JOBS)
def test_every_job_of_the_table_runs_on_an_empty_shop_and_says_what_it_did(
    app: Application, name: str
) -> None:
    ended = run_until_ended(app, JOBS[name], ask(app, JOBS[name], "cli:ada"))

    assert (ended.state, ended.error) == ("fine", None)
    assert isinstance(json.loads(ended.result), dict)


def test_every_file_in_jobs_is_in_the_table() -> None:
    assert {"expire-held", "forget-runs", "roll-up-counters", "settle-payments"} <= set(JOBS)


def test_the_history_keeps_the_last_moment_of_each_job_however_old(app: Application) -> None:
    run_due(app, job(counting))
    assert fired(app, "count-apples", NOON - timedelta(days=400))
    assert fired(app, "count-apples", NOON - timedelta(days=399))

    with app.database.transaction() as tx:
        forgotten = job_runs.forget(tx, 30 * 86_400.0)

    assert forgotten == 1
    assert {(run.job, run.fire_at) for run in history(app)} == {
        ("count-stock", datetime.fromtimestamp(AGE, UTC)),
        ("count-apples", NOON - timedelta(days=399)),
    }
