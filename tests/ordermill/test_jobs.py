"""The commands for jobs, as a person gives them; as processes: tests/scheduler/test_by_hand.py."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ordermill import output
from ordermill.main import main
from pipeline.storage import job_runs
from pipeline.storage.database import Database
from scheduler.job import Every, Job
from scheduler.table import JOBS

Command = Callable[[str], tuple[int, str, str]]


@pytest.fixture
def command(
    database: Database,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> Command:
    """Runs a command on the test's database: exit code, what was printed, and on standard error."""
    url = database.url.render_as_string(hide_password=False)
    for name, value in (("HOME", str(tmp_path / "home")), ("DATABASE_URL", url)):
        monkeypatch.setenv(f"ORDERMILL_{name}", value)
    monkeypatch.setattr(output.console, "width", 300)

    def run(words: str) -> tuple[int, str, str]:
        sys.argv = ["ordermill", *words.split()]
        with pytest.raises(SystemExit) as ended:
            main()
        told = capsys.readouterr()
        code = ended.value.code
        return int(code or 0), told.out, told.err

    return run


@pytest.fixture
def declare(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Puts another job in the place of forget-runs."""

    def declare(run: Callable[[Any], Any], **how: Any) -> None:
        job = Job("forget-runs", Every(1_000_000_000), "whatever the test wants", run, **how)
        monkeypatch.setitem(JOBS, "forget-runs", job)

    return declare


def fail(_: Any) -> dict[str, Any]:
    raise ValueError("the shelf is gone")


def test_without_json_it_says_what_the_job_did(command: Command) -> None:
    assert command("jobs run forget-runs") == (0, 'forget-runs: {"forgotten": 0}\n', "")


@pytest.mark.parametrize(
    ("run", "problem", "code", "state"),
    [
        (lambda _: {"found": 0}, False, 0, "fine"),
        (lambda _: {"found": 3}, True, 1, "problem"),
        (fail, False, 1, "failed"),
    ],
)
def test_the_exit_code_says_how_it_went(
    command: Command,
    declare: Callable[..., None],
    run: Callable[[Any], Any],
    problem: bool,
    code: int,
    state: str,
) -> None:
    declare(run, finds_problem=lambda _: problem)

    ended, printed, _ = command("jobs run forget-runs --json")

    assert (ended, json.loads(printed)["state"]) == (code, state)


def test_what_has_not_ended_when_the_time_is_over_is_3_and_is_left_to_a_scheduler(
    command: Command, database: Database
) -> None:
    with database.transaction() as tx:  # a scheduler runs it, and does not end
        first = job_runs.ask(tx, "forget-runs", "ada")
        job_runs.start(tx, first, "token", "another", 60.0)

    code, printed, warning = command("jobs run forget-runs --timeout 0.3 --json")

    assert (code, json.loads(printed)["state"]) == (3, "waiting")
    assert "No scheduler is running" in warning


def test_what_is_not_waited_for_is_left_to_a_scheduler(
    command: Command, database: Database
) -> None:
    code, printed, warning = command("jobs run forget-runs --no-wait")

    assert code == 0
    assert "is left to a scheduler" in printed
    assert "No scheduler is running" in warning
    with database.snapshot() as tx:
        assert [run.state for run in job_runs.open_runs(tx)] == ["waiting"]


def test_a_job_that_is_none_is_refused_with_those_there_are(command: Command) -> None:
    code, _, told = command("jobs run tea")

    assert code == 2
    assert "'tea' is none of" in told


def test_the_list_tells_schedules_and_how_the_last_run_went(command: Command) -> None:
    command("jobs run expire-held")

    _, printed, _ = command("jobs ls --json")

    jobs = {job["job"]: job for job in json.loads(printed)}
    assert set(jobs) == set(JOBS)
    assert jobs["expire-held"]["schedule"] == "*/10 * * * *"
    assert jobs["expire-held"]["state"] == "fine"
    assert jobs["settle-payments"]["state"] is None


def test_the_history_tells_of_every_run(command: Command, declare: Callable[..., None]) -> None:
    command("jobs run expire-held")
    declare(fail)
    command("jobs run forget-runs")

    _, everything, _ = command("jobs history --json")
    _, of_one, _ = command("jobs history expire-held --json")
    _, as_table, _ = command("jobs history")

    told = [(run["job"], run["state"], run["result"]) for run in json.loads(everything)]
    assert told == [("forget-runs", "failed", None), ("expire-held", "fine", {"cancelled": 0})]
    assert [run["job"] for run in json.loads(of_one)] == ["expire-held"]
    assert "ValueError: the shelf is gone" in as_table


def test_the_log_of_a_run_can_be_read(
    command: Command, declare: Callable[..., None], database: Database
) -> None:
    declare(fail)
    command("jobs run forget-runs")
    declare(lambda _: {})
    command("jobs run forget-runs")
    with database.snapshot() as tx:
        last, first = job_runs.history(tx, 2)

    _, of_first, _ = command(f"jobs log forget-runs --run {first.id}")
    _, of_last, _ = command("jobs log forget-runs")
    code, _, told = command(f"jobs log expire-held --run {last.id}")

    assert "ValueError: the shelf is gone" in of_first
    assert of_last == ""
    assert (code, f"there is no run {last.id} of expire-held" in told) == (2, True)
