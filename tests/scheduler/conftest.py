"""An application on the test's database, and jobs to run on it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import update

from pipeline.assembly import Application, assemble
from pipeline.settings import Settings
from pipeline.storage import job_runs
from pipeline.storage.database import Database
from pipeline.storage.sql import now
from pipeline.storage.tables import job_runs as table
from scheduler.job import Every, Job, Schedule
from scheduler.runner import Pace, Runner
from scheduler.tick import tick

#: So many seconds that no test meets the next moment: one was in 2001, the next is in 2033.
AGE = 1_000_000_000
PATIENCE = 20.0


class Silent:
    def announce(self, step: str, dispatch_id: int) -> None:
        """Nobody listens."""


@pytest.fixture
def app(database: Database, tmp_path: Path) -> Iterator[Application]:
    url = database.url.render_as_string(hide_password=False)
    settings = Settings(
        _env_file=None, home=tmp_path / "home", database_url=url, sandbox_book="memory"
    )
    made = assemble(settings, Silent())
    yield made
    made.close()


def job(run: Callable[[Application], Any], schedule: Schedule | None = None, **how: Any) -> Job:
    return Job("count-stock", schedule or Every(AGE), "count what is on the shelves", run, **how)


def run_due(app: Application, *jobs: Job, pace: Pace | None = None) -> int:
    """One tick, and the end of what it began; how many runs that were."""
    runner = Runner(app, pace or Pace())
    begun = tick(app.database, runner, jobs)
    assert runner.wait(PATIENCE)
    return begun


def history(app: Application) -> list[Any]:
    with app.database.snapshot() as tx:
        return job_runs.history(tx, 100)


def let_leases_run_out(app: Application) -> None:
    """As if every runner had died, or hung, a while ago."""
    with app.database.transaction() as tx:
        tx.execute(update(table).where(table.c.state == "running").values(leased_until=now(-1)))
