"""ordermill: the command. Each group of subcommands is a file of its own beside this one."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import typer

from ordermill.lazy import Lazy, group
from ordermill.output import errors
from pipeline.errors import OrdermillError
from pipeline.redaction import guard_logs, redact

COMMANDS = {
    "import": Lazy(
        "ordermill.imports",
        "import_orders",
        "Take orders in from a file: JSON lines, or CSV with a mapping.",
    ),
    "demo": Lazy(
        "ordermill.demo",
        "demo",
        "Show orders flowing, failing and recovering, in under a minute; then prove the books.",
    ),
    "top": Lazy(
        "ordermill.top",
        "top",
        "Show what needs a person, each queue, and who works, live; ? lists the keys.",
    ),
    "up": Lazy(
        "ordermill.serving",
        "up",
        "Run everything in one process, on the embedded home. Ctrl-C stops it in good order.",
    ),
    "worker": Lazy(
        "ordermill.serving", "worker", "Run a worker. Start any number, on any number of hosts."
    ),
    "scheduler": Lazy(
        "ordermill.serving",
        "scheduler",
        "Run a scheduler. Two are better than one: each job still fires once.",
    ),
    "web": Lazy(
        "ordermill.serving",
        "web",
        "Run the HTTP API (docs/api.md). Start any number; gateways send their events to it, too.",
    ),
    "audit": Lazy(
        "ordermill.checking",
        "audit",
        "Prove the invariants on the data there is. Exit code 1 if one doesn't hold.",
    ),
    "check": Lazy(
        "ordermill.checking",
        "check",
        "Say what is wrong with this deployment, and how to mend it. Exit code 1 on an error.",
    ),
    "orders": Lazy("ordermill.orders", "orders", "Look at orders, and put right what is stuck."),
    "queues": Lazy("ordermill.queues", "queues", "See what waits where; stop and start it."),
    "jobs": Lazy(
        "ordermill.jobs", "jobs", "The scheduled jobs: when they ran, what they did, and one now."
    ),
    "sources": Lazy("ordermill.sources", "sources", "Upstream systems and their policies."),
    "keys": Lazy("ordermill.keys", "keys", "Keys of the HTTP API (docs/api.md)."),
    "webhooks": Lazy(
        "ordermill.webhooks",
        "webhooks",
        "Where sources are told of their orders (docs/webhooks.md).",
    ),
    "products": Lazy("ordermill.products", "products", "The catalogue."),
    "pricing": Lazy(
        "ordermill.pricing", "pricing", "Rules of pricing: tax, shipping, promotions, coupons."
    ),
    "stock": Lazy("ordermill.stock", "stock", "Units: what is there, what is promised."),
    "payments": Lazy("ordermill.payments", "payments", "The money: our books and the gateways'."),
    "refusals": Lazy(
        "ordermill.refusals",
        "refusals",
        "What was refused of messages, and messages that can't be read.",
    ),
    "operators": Lazy(
        "ordermill.operators",
        "operators",
        "Who may sign in to the console, and what was done by whom.",
    ),
    "db": Lazy("ordermill.database", "db", "The database schema."),
}
app = group("An order pipeline a shop can run itself. Begin with `ordermill demo`.", COMMANDS)


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
    except Exception as error:
        # One that is not the database's is a defect, for our hook to show.
        from sqlalchemy.exc import DBAPIError  # it takes a tenth of a second to import

        if not isinstance(error, DBAPIError):
            raise
        errors.print(f"the database failed: {redact(str(error.orig)).strip()}", markup=False)
        errors.print("`ordermill check` says what is wrong with this deployment.")
        sys.exit(2)
