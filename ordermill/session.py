"""What commands share: settings, an application to act with, an actor's name."""

from __future__ import annotations

import getpass
import logging
from collections.abc import Iterator
from contextlib import contextmanager

from pipeline.assembly import Application, assemble, open_database
from pipeline.redaction import guard_logs
from pipeline.settings import Settings, load_settings
from pipeline.storage.database import Database
from workers.announcer import BrokerAnnouncer
from workers.broker import make_broker


def actor() -> str:
    """Whose name an action leaves in the timeline."""
    return f"cli:{getpass.getuser()}"[:64]


def operator() -> str:
    """Whose name an action leaves in the operators' log."""
    return actor()[:32]


def configure_logging(settings: Settings) -> None:
    """Log to standard error, nothing secret among it."""
    logging.basicConfig(
        level=settings.log_level.upper(),
        format="%(asctime)s %(levelname)-7s %(name)s: %(message)s",
    )
    guard_logs(settings.secrets)
    # httpx logs every URL, and a webhook's may hold a token; APScheduler every tick.
    for name in ("httpx", "alembic"):
        logging.getLogger(name).setLevel(logging.WARNING)
    # A tick that comes while the last one runs is left out, as it should be.
    logging.getLogger("apscheduler").setLevel(logging.ERROR)


@contextmanager
def application() -> Iterator[Application]:
    """An application for one command. What it announces goes to the broker of the settings."""
    settings = load_settings()
    app = assemble(settings, BrokerAnnouncer(make_broker(settings.broker_url, [])))
    try:
        yield app
    finally:
        app.close()


@contextmanager
def bare_database() -> Iterator[Database]:
    """The database, whatever its schema."""
    database = open_database(load_settings())
    try:
        yield database
    finally:
        database.close()
