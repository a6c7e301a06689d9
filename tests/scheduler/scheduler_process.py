"""A scheduler as `ordermill scheduler` runs it, on a clock of the database that a test moves by hand,
and on a host whose own clock is off. Its jobs write down each time they are run, and by whom."""

from __future__ import annotations

import datetime
import os
import sys
import time
from pathlib import Path
from typing import Any
from unittest.mock import patch

from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler

from ordermill.processes import run_until_signalled
from pipeline.assembly import Application
from pipeline.settings import Settings
from pipeline.source import Policy
from pipeline.storage import clock, sources
from pipeline.storage.sql import now
from scheduler.job import Cron, Every, Job
from scheduler.process import SchedulerProcess
from scheduler.runner import Pace

#: Seconds of the database's clock that `slow` takes; and that a silent runner keeps its run.
SLOW, LEASE = 15, 30


def read_the_clock_from_a_table() -> None:
    """The clock of every statement is what stands in `simulated_clock`."""

    @compiles(now, "postgresql")
    def _postgres(element: now, compiler: SQLCompiler, **kw: Any) -> str:
        offset = compiler.process(element.clauses, **kw)
        at = "(SELECT at FROM simulated_clock)"
        return f"({at} + make_interval(secs => CAST({offset} AS double precision)))"

    @compiles(now, "sqlite")
    def _sqlite(element: now, compiler: SQLCompiler, **kw: Any) -> str:
        offset = compiler.process(element.clauses, **kw)
        at = "(SELECT at FROM simulated_clock)"
        return f"strftime('%Y-%m-%d %H:%M:%f000', {at}, CAST({offset} AS TEXT) || ' seconds')"


def set_the_hosts_clock_off(hours: float) -> None:
    """What whoever asks the host for the time believes; the database knows better."""
    real = time.time
    patch.object(time, "time", lambda: real() + hours * 3600).start()


def jobs(ran: Path) -> list[Job]:
    """Each run is a line of the file `ran` when it begins; `slow` then takes its time, and leaves a
    source of its runner's name as what it wrote."""

    def note(name: str) -> None:
        with ran.open("a") as file:
            file.write(f"{name} {os.getpid()}\n")

    def quick(name: str) -> Any:
        def run(_: Application) -> dict[str, int]:
            note(name)
            return {"pid": os.getpid()}

        return run

    def told(app: Application) -> datetime.datetime:
        with app.database.snapshot() as tx:
            return clock.read(tx)

    def slow(app: Application) -> dict[str, int]:
        over = told(app) + datetime.timedelta(seconds=SLOW)
        note("slow")  # the clock may go on from here
        while told(app) < over:
            time.sleep(0.02)
        with app.database.transaction() as tx:
            sources.put(tx, f"slow-{os.getpid()}", Policy())
        return {"pid": os.getpid()}

    return [
        Job("by-the-minute", Cron("* * * * *"), "notes itself", quick("by-the-minute")),
        Job("every-other", Every(120), "notes itself", quick("every-other")),
        Job("slow", Every(60), "notes itself, and takes its time", slow, overlap="after"),
    ]


def main(url: str, home: str, hours: float, tick: float) -> None:
    read_the_clock_from_a_table()
    set_the_hosts_clock_off(hours)
    settings = Settings(_env_file=None, home=Path(home), database_url=url, sandbox_book="memory")
    pace = Pace(tick=tick, lease=LEASE, renew=1.0)
    run_until_signalled(SchedulerProcess(settings, jobs=jobs(Path(home) / "ran"), pace=pace))


if __name__ == "__main__":
    main(*sys.argv[1:3], *map(float, sys.argv[3:5]))
