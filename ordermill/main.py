"""ordermill: the command. Each group of subcommands is a file of its own beside this one."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import Annotated

import typer
from sqlalchemy.exc import DBAPIError

from ordermill import demo as demonstration
from ordermill.database import db
from ordermill.forecast import show_forecast
from ordermill.imports import import_orders
from ordermill.jobs import jobs
from ordermill.keys import keys
from ordermill.operators import operators
from ordermill.orders import orders
from ordermill.output import AsJson, console, errors, one_of, show, show_json
from ordermill.payments import payments
from ordermill.pricing import pricing
from ordermill.processes import (
    Everything,
    PortTaken,
    WebProcess,
    observed,
    run_until_signalled,
    upgrade_embedded,
)
from ordermill.products import products
from ordermill.queues import queues
from ordermill.refusals import refusals
from ordermill.session import application, bare_database, configure_logging
from ordermill.sources import sources
from ordermill.stock import stock
from ordermill.top import top
from ordermill.webhooks import webhooks
from pipeline.audit.audit import audit as run_audit
from pipeline.chain import STEPS
from pipeline.check import check as run_check
from pipeline.errors import OrdermillError
from pipeline.redaction import guard_logs, redact
from pipeline.settings import load_settings
from scheduler.process import SchedulerProcess
from workers.process import WorkerProcess

app = typer.Typer(
    help="An order pipeline a shop can run itself. Begin with `ordermill demo`.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
for group, name in (
    (orders, "orders"),
    (queues, "queues"),
    (jobs, "jobs"),
    (sources, "sources"),
    (keys, "keys"),
    (webhooks, "webhooks"),
    (products, "products"),
    (pricing, "pricing"),
    (stock, "stock"),
    (payments, "payments"),
    (refusals, "refusals"),
    (operators, "operators"),
    (db, "db"),
):
    app.add_typer(group, name=name)
app.command("import")(import_orders)
app.command("demo")(demonstration.demo)
app.command("top")(top)


@app.command()
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
    console.print(f"Ordermill is up; its home is {settings.home.resolve()}. Ctrl-C stops it.")
    console.print(f"{served}.", markup=False)
    with observed(settings, "up", everything.exposition):
        run_until_signalled(everything)


@app.command()
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


@app.command()
def scheduler() -> None:
    """Run a scheduler. Two are better than one: each job still fires once."""
    settings = load_settings()
    configure_logging(settings)
    with observed(settings, "scheduler"):
        run_until_signalled(SchedulerProcess(settings))


@app.command()
def web(
    host: Annotated[str, typer.Option(help="The address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65_535, help="The port to listen on.")] = 8000,
) -> None:
    """Run the HTTP API (docs/api.md). Start any number; gateways send their events to it, too."""
    settings = load_settings()
    configure_logging(settings)
    process = WebProcess(settings, host, port)
    console.print(f"The API is at http://{host}:{port}. Ctrl-C stops it.")
    with observed(settings, "web", process.exposition):
        run_until_signalled(process)


@app.command()
def audit(json: AsJson = False) -> None:
    """Prove the invariants on the data there is. Exit code 1 if one doesn't hold."""
    with application() as opened:
        report = run_audit(opened.database, opened.gateways)
    rows = [
        {
            "state": "FAILED" if checked.broken else "ok",
            "rule": checked.rule.name,
            "checked": checked.checked,
            "broken": checked.broken,
            "says": checked.rule.sentence if json or checked.broken else None,
        }
        for checked in report.rules
    ]
    if json:
        show_json(
            {
                "clean": report.is_clean,
                "rules": rows,
                "findings": list(map(asdict, report.findings)),
            }
        )
    else:
        show(rows, False, empty="")
        for finding in report.findings:
            errors.print(f"{finding.rule}: {finding.what}", markup=False)
    raise typer.Exit(0 if report.is_clean else 1)


@app.command()
def check(
    since: Annotated[
        str | None,
        typer.Option(
            metavar="TIME",
            help="Instead: of the orders of so long (12h, 30d), how many this version would refuse "
            "or let wait, and why. Exit code 1 if there are any.",
        ),
    ] = None,
    json: AsJson = False,
) -> None:
    """Say what is wrong with this deployment, and how to mend it. Exit code 1 on an error."""
    if since is not None:
        show_forecast(since, json)
    settings = load_settings()
    with bare_database() as database:
        found = run_check(settings, database)
    show(
        [{"level": c.level, "what": c.name, "found": c.found, "mend": c.mend} for c in found],
        json,
        empty="",
    )
    raise typer.Exit(1 if any(c.level == "error" for c in found) else 0)


def _end(*_: object) -> None:
    sys.exit(128 + signal.SIGTERM)


@contextmanager
def _heeding_sigterm() -> Iterator[None]:
    """SIGTERM ends the command, whatever it waits for. A process with pid 1 has no default that would."""
    before = signal.signal(signal.SIGTERM, _end)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def main() -> None:
    guard_logs()
    with _heeding_sigterm():
        _run()


def _run() -> None:
    try:
        # Not app(): that would put Typer's hook for what nobody catches in the place of ours.
        typer.main.get_command(app)()
    except OrdermillError as error:
        errors.print(redact(str(error)), markup=False)
        sys.exit(2)
    except DBAPIError as error:
        errors.print(f"the database failed: {redact(str(error.orig)).strip()}", markup=False)
        errors.print("`ordermill check` says what is wrong with this deployment.")
        sys.exit(2)
