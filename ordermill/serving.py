"""ordermill up, worker, scheduler, web: the processes."""

from __future__ import annotations

from contextlib import suppress
from typing import Annotated

import typer

from ordermill.output import console, one_of
from ordermill.processes import (
    Everything,
    PortTaken,
    WebProcess,
    observed,
    run_until_signalled,
    upgrade_embedded,
)
from ordermill.session import configure_logging
from pipeline.chain import STEPS
from pipeline.settings import load_settings
from scheduler.process import SchedulerProcess
from workers.process import WorkerProcess


def up(
    port: Annotated[
        int, typer.Option(min=0, max=65_535, help="The port of HTTP and console, on 127.0.0.1.")
    ] = 8000,
) -> None:
    """Run everything in one process, on the embedded home. Ctrl-C stops it in good order."""
    settings = load_settings()
    configure_logging(settings)
    upgrade_embedded(settings)
    try:
        everything = Everything(settings, port)
        served = f"Its console is at http://127.0.0.1:{port}/console"
    except PortTaken as error:  # orders must flow all the same
        everything, served = Everything(settings), f"No console is served: {error}"
    _say(f"Ordermill is up; its home is {settings.home.resolve()}. Ctrl-C stops it.")
    _say(f"{served}.")
    with observed(settings, "up", everything.exposition):
        run_until_signalled(everything)


def worker(
    queue: Annotated[
        list[str] | None,
        typer.Option(
            parser=one_of(STEPS), metavar="NAME", help="Work only on these queues; default all."
        ),
    ] = None,
) -> None:
    """Run a worker. Start any number, on any number of hosts."""
    settings = load_settings()
    configure_logging(settings)
    with observed(settings, "worker"):
        run_until_signalled(WorkerProcess(settings, serves=queue or STEPS))


def scheduler() -> None:
    """Run a scheduler. Two are better than one: each job still fires once."""
    settings = load_settings()
    configure_logging(settings)
    with observed(settings, "scheduler"):
        run_until_signalled(SchedulerProcess(settings))


def web(
    host: Annotated[str, typer.Option(help="The address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65_535, help="The port to listen on.")] = 8000,
) -> None:
    """Run the HTTP API (docs/api.md). Start any number; gateways send their events to it, too."""
    settings = load_settings()
    configure_logging(settings)
    process = WebProcess(settings, host, port)
    _say(f"The API is at http://{host}:{port}. Ctrl-C stops it.")
    with observed(settings, "web", process.exposition):
        run_until_signalled(process)


def _say(sentence: str) -> None:
    """A process starts, though the disk that it is logged to is full."""
    with suppress(OSError):
        console.print(sentence, markup=False)
