"""Every job by hand, as cron or Airflow starts it, on a home that is new."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from ordermill.main import main
from pipeline.storage.database import Database
from scheduler.table import JOBS

TOLD = {
    "run": int, "job": str, "due": str, "state": str, "attempt": int, "asked_by": str, "by": str,
    "started": str, "seconds": float, "result": dict, "error": type(None),
}  # fmt: skip


@pytest.fixture
def home(tmp_path: Path, sqlite_database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in os.environ if name.startswith("ORDERMILL_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("ORDERMILL_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("ORDERMILL_DATABASE_URL", str(sqlite_database.url))


def arguments(name: str) -> list[str]:
    return ["ordermill", "jobs", "run", name, "--wait", "--json"]


def assert_done(name: str, stdout: str) -> None:
    told: dict[str, Any] = json.loads(stdout)
    assert {key: type(value) for key, value in told.items()} == TOLD
    assert (told["job"], told["state"], told["attempt"]) == (name, "fine", 1)


@pytest.mark.usefixtures("home")
@pytest.mark.parametrize("name", JOBS)
def test_every_job_can_be_run_by_hand(
    name: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", arguments(name))

    with pytest.raises(SystemExit) as ended:
        main()

    printed = capsys.readouterr()
    assert (ended.value.code or 0, printed.err) == (0, "")
    assert_done(name, printed.out)


@pytest.mark.usefixtures("home")
def test_it_is_a_process_like_any_other() -> None:
    ended = subprocess.run(
        [sys.executable, "-m", *arguments("forget-runs")],
        capture_output=True,
        text=True,
        timeout=60,
    )

    assert (ended.returncode, ended.stderr) == (0, "")
    assert_done("forget-runs", ended.stdout)
