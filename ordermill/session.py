"""What commands share: settings, an application to act with, an actor's name."""

from __future__ import annotations

import getpass
import logging
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import TYPE_CHECKING, Any

from pipeline import acts
from pipeline.acts import Act
from pipeline.opening import open_database
from pipeline.redaction import guard_logs
from pipeline.settings import Settings, load_settings
from pipeline.storage import currencies
from pipeline.storage.database import Database, Tx
from pipeline.telemetry import logs
from pipeline.telemetry.repeats import Repeats

if TYPE_CHECKING:
    from pipeline.assembly import Application


def actor() -> str:
    """Whose name an action leaves in the timeline, and in the operators' log."""
    return f"cli:{getpass.getuser()}"[:64]


def configure_logging(settings: Settings) -> None:
    """Log to standard error, nothing secret among it."""
    to_stderr = logging.StreamHandler()
    to_stderr.setFormatter(logs.formatter(settings.log_format))
    logging.basicConfig(level=settings.log_level, handlers=[to_stderr])
    guard_logs(settings.secrets)
    to_stderr.addFilter(Repeats(to_stderr))
    # httpx logs every URL, and a webhook's may hold a token.
    for name in ("httpx", "alembic"):
        logging.getLogger(name).setLevel(logging.WARNING)
    # Six lines for each attempt to connect; what came of it we say ourselves.
    logging.getLogger("pika").setLevel(logging.CRITICAL)


@contextmanager
def application() -> Iterator[Application]:
    """An application for one command. What it announces goes to the broker of the settings."""
    # A command that only reads doesn't wait for these: together they take a second to import.
    from pipeline.assembly import assemble
    from pipeline.telemetry import tracing
    from workers.announcer import BrokerAnnouncer, PatientAnnouncer
    from workers.broker import make_broker

    settings = load_settings()
    announcer = PatientAnnouncer(BrokerAnnouncer(make_broker(settings.broker_url, [])))
    app = assemble(settings, announcer, role="cli", looks_after_commit=True)
    try:
        with tracing.configured("cli"):
            yield app
    finally:
        announcer.close()
        app.close()


def acting(
    app: Application, action: str, target: object = None, **detail: Any
) -> AbstractContextManager[Act]:
    """A transaction that does something in the name of whoever runs the command."""
    return acts.act(app.database, actor(), action, target, **detail)


def undertaking(
    app: Application, action: str, target: object = None, **detail: Any
) -> AbstractContextManager[dict[str, Any]]:
    """Likewise something that takes more than one transaction."""
    return acts.undertaking(app.database, actor(), action, target, **detail)


def of_orders(order_ids: Iterable[int]) -> dict[str, Any]:
    """Orders as an entry of the operators' log has them: one is its target."""
    ids = sorted(set(order_ids))
    return {"target": ids[0]} if len(ids) == 1 else {"orders": ids}


@contextmanager
def reading() -> Iterator[Tx]:
    """A snapshot of the database, for a command that changes nothing. Its schema must be current."""
    with bare_database() as database:
        database.require_schema()
        currencies.adopt(database)
        with database.snapshot() as tx:
            yield tx


@contextmanager
def bare_database() -> Iterator[Database]:
    """The database, whatever its schema."""
    database = open_database(load_settings(), "cli")
    try:
        yield database
    finally:
        database.close()
