"""A run that dies or hangs is seen, and run again; what its first runner would still write is refused."""

from __future__ import annotations

import logging
import sqlite3
import threading
import time
from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import text
from sqlalchemy.exc import OperationalError

from pipeline.assembly import Application
from pipeline.source import Policy
from pipeline.storage import job_runs
from pipeline.storage import sources as storage_sources
from scheduler.capture import MOST_BYTES
from scheduler.runner import Pace, Runner
from scheduler.tick import tick
from tests.scheduler.conftest import PATIENCE, history, job, let_leases_run_out, run_due

NOON = datetime(2026, 11, 23, 12, tzinfo=UTC)


def sources(app: Application) -> set[str]:
    with app.database.snapshot() as tx:
        return {source.name for source in storage_sources.all_sources(tx).values()}


def begun_by_one_who_died(app: Application) -> None:
    with app.database.transaction() as tx:
        assert job_runs.fire(tx, "count-stock", NOON, "the dead one's", "another", 15.0)
    let_leases_run_out(app)


def test_a_run_whose_runner_died_is_taken_over(app: Application) -> None:
    begun_by_one_who_died(app)

    assert run_due(app, job(lambda _: {"counted": 3})) == 1

    [run] = history(app)
    assert (run.state, run.attempt, run.result) == ("fine", 2, '{"counted": 3}')


def test_by_one_of_many(app: Application) -> None:
    begun_by_one_who_died(app)
    runners = [Runner(app, Pace()) for _ in range(5)]
    counted = job(lambda _: {})

    begun = [tick(app.database, runner, [counted]) for runner in runners]
    assert all(runner.wait(PATIENCE) for runner in runners)

    assert sum(begun) == 1


def test_a_run_that_is_held_is_left_alone(app: Application) -> None:
    with app.database.transaction() as tx:
        job_runs.fire(tx, "count-stock", NOON, "token", "another", 15.0)

    assert run_due(app, job(lambda _: {})) == 0


def test_after_three_attempts_that_nobody_ended_it_has_failed(app: Application) -> None:
    begun_by_one_who_died(app)
    hangs = job(lambda _: {})
    for attempt in (2, 3):
        with app.database.transaction() as tx:
            [run] = job_runs.open_runs(tx)
            assert job_runs.take_over(tx, run.id, f"token {attempt}", "another", 15.0, 3) == attempt
        let_leases_run_out(app)

    assert run_due(app, hangs) == 0

    [run] = history(app)
    assert (run.state, run.error) == ("failed", "attempt 3 died or took longer than 600 s")


def test_a_run_that_is_slow_is_kept_by_renewing_its_lease(app: Application) -> None:
    slow = job(lambda _: time.sleep(1.5) or {"slow": True})
    other = Runner(app, Pace())
    one = Runner(app, Pace(lease=1.0, renew=0.1))

    assert tick(app.database, one, [slow]) == 1
    taken = 0
    while one.is_busy:
        taken += tick(app.database, other, [slow])

    assert taken == 0
    assert [(run.state, run.attempt) for run in history(app)] == [("fine", 1)]


def test_a_run_that_hangs_is_run_again_once_its_time_is_over(app: Application) -> None:
    hung, go = threading.Event(), threading.Event()

    def hang_once(_: Application) -> dict[str, Any]:
        if not hung.is_set():
            hung.set()
            go.wait(PATIENCE)
            return {"by": "the one that hung"}
        return {"by": "the other"}

    hangs = job(hang_once, time_limit=0.3)
    one, other = Runner(app, Pace(lease=0.6, renew=0.1)), Runner(app, Pace())
    tick(app.database, one, [hangs])
    give_up = time.monotonic() + PATIENCE
    while not tick(app.database, other, [hangs]):
        assert time.monotonic() < give_up
        time.sleep(0.05)
    assert other.wait(PATIENCE)
    go.set()
    assert one.wait(PATIENCE)

    [run] = history(app)
    assert (run.state, run.attempt, run.result) == ("fine", 2, '{"by": "the other"}')


def test_what_a_run_would_still_write_after_it_was_taken_over_is_refused(app: Application) -> None:
    def write(app: Application, name: str) -> None:
        with app.database.transaction() as tx:
            storage_sources.put(tx, name, Policy())

    def late(fenced: Application) -> dict[str, Any]:
        write(fenced, "in-time")
        let_leases_run_out(app)
        assert run_due(app, job(lambda fenced: write(fenced, "other") or {})) == 1
        write(fenced, "too-late")
        return {"by": "the late one"}

    run_due(app, job(late))

    assert sources(app) == {"in-time", "other"}
    [run] = history(app)
    assert (run.state, run.attempt, run.result) == ("fine", 2, "{}")


def cut(app: Application) -> None:
    """The database lets go of the connection that a job is using; SQLite is locked by another."""
    with app.database.transaction() as tx:
        if app.database.is_sqlite:
            raise OperationalError("SELECT 1", {}, sqlite3.OperationalError("database is locked"))
        tx.execute(text("SELECT pg_terminate_backend(pg_backend_pid())"))


def test_a_run_whose_connection_was_cut_is_run_again_at_once(app: Application) -> None:
    cuts = iter([True, False])

    def count(fenced: Application) -> dict[str, Any]:
        if next(cuts):
            cut(fenced)
        return {"counted": 3}

    nightly = job(count)
    assert run_due(app, nightly) == 1
    [waits] = history(app)
    assert run_due(app, nightly) == 1

    assert (waits.state, waits.attempt) == ("waiting", 1)
    assert "OperationalError" in waits.error
    [run] = history(app)
    assert (run.state, run.attempt, run.result, run.error) == ("fine", 2, '{"counted": 3}', None)


def test_but_not_for_ever(app: Application) -> None:
    always = job(lambda fenced: cut(fenced) or {})

    begun = [run_due(app, always) for _ in range(5)]

    assert begun == [1, 1, 1, 0, 0]
    [run] = history(app)
    assert (run.state, run.attempt) == ("failed", 3)
    assert "OperationalError" in run.error


def test_a_run_that_raised_for_a_reason_of_its_own_has_failed(app: Application) -> None:
    def divide(_: Application) -> dict[str, Any]:
        raise ZeroDivisionError("by nobody")

    assert [run_due(app, job(divide)) for _ in range(2)] == [1, 0]
    assert [(run.state, run.attempt) for run in history(app)] == [("failed", 1)]


def test_what_a_run_did_is_written_when_the_database_returns(
    app: Application, monkeypatch: pytest.MonkeyPatch
) -> None:
    finish, away = job_runs.finish, iter([True, True, False])

    def finish_if_it_is_there(*given: Any) -> bool:
        if next(away):
            raise OperationalError("UPDATE", {}, Exception("the server is starting up"))
        return finish(*given)

    monkeypatch.setattr(job_runs, "finish", finish_if_it_is_there)

    run_due(app, job(lambda _: {"counted": 3}))

    assert [(run.state, run.attempt) for run in history(app)] == [("fine", 1)]


def test_a_process_that_stops_hands_back_what_does_not_end(app: Application) -> None:
    go = threading.Event()
    runner = Runner(app, Pace())
    slow = job(lambda _: {"waited": go.wait(PATIENCE)})
    tick(app.database, runner, [slow])

    runner.stop(patience=0.1)
    handed_back = history(app)[0].state
    go.set()
    again = run_due(app, slow)

    assert (handed_back, again) == ("waiting", 1)
    assert [(run.state, run.attempt) for run in history(app)] == [("fine", 1)]


# --- Its log --------------------------------------------------------------------------------------


def log_of(app: Application) -> str:
    with app.database.snapshot() as tx:
        return str(job_runs.one(tx, job_runs.history(tx, 1)[0].id).log)


@pytest.fixture
def chatty() -> logging.Logger:
    logger = logging.getLogger("tests.chatty")
    logger.setLevel(logging.INFO)
    return logger


def test_a_run_keeps_what_it_logged_and_no_secret(app: Application, chatty: logging.Logger) -> None:
    def talk(_: Application) -> dict[str, Any]:
        chatty.info("card %s", "4111 1111 1111 1111")
        thread = threading.Thread(target=chatty.info, args=("somebody else's",))
        thread.start()
        thread.join()
        raise ValueError("the shelf is gone")

    run_due(app, job(talk))

    told = log_of(app)
    assert "INFO    tests.chatty: card (card number)\n" in told
    assert "job count-stock failed\nTraceback" in told
    assert "somebody else's" not in told


def test_of_a_long_log_the_newest_64_kb_are_kept(app: Application, chatty: logging.Logger) -> None:
    def talk(_: Application) -> dict[str, Any]:
        for n in range(3_000):
            chatty.info("ünit %d of what is on the shelves", n)
        return {}

    run_due(app, job(talk))

    told = log_of(app)
    assert MOST_BYTES - 100 < len(told.encode()) <= MOST_BYTES
    assert told.startswith("(earlier lines are left out)\n")
    assert told.endswith("ünit 2999 of what is on the shelves\n")
