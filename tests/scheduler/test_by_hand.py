"""Every job by hand, as cron or Airflow starts it: a process of its own, on a home that is new."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.storage.database import Database
from scheduler.table import JOBS

TOLD = {
    "run": int, "job": str, "due": str, "state": str, "attempt": int, "asked_by": str, "by": str,
    "started": str, "seconds": float, "result": dict, "error": type(None),
}  # fmt: skip


@pytest.mark.parametrize("name", JOBS)
def test_every_job_can_be_run_by_hand(name: str, tmp_path: Path, sqlite_database: Database) -> None:
    home = {
        "ORDERMILL_HOME": str(tmp_path / "home"),
        "ORDERMILL_DATABASE_URL": str(sqlite_database.url),
    }
    ended = subprocess.run(
        [sys.executable, "-m", "ordermill", "jobs", "run", name, "--wait", "--json"],
        env={**os.environ, **home},
        capture_output=True,
        text=True,
        timeout=60,
    )

    assert (ended.returncode, ended.stderr) == (0, "")
    told = json.loads(ended.stdout)
    assert {key: type(value) for key, value in told.items()} == TOLD
    assert (told["job"], told["state"], told["attempt"]) == (name, "fine", 1)
