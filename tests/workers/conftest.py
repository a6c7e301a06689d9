"""A home for workers: SQLite with the broker in the process, and Postgres with a real Valkey."""

from __future__ import annotations

from pathlib import Path

import pytest
import redis

from pipeline.settings import Settings
from pipeline.storage.database import Database
from tests.support import Mill


@pytest.fixture(params=["embedded", "real"])
def settings(request: pytest.FixtureRequest, tmp_path: Path) -> Settings:
    """Of an empty home, its broker included."""
    embedded = request.param == "embedded"
    database: Database = request.getfixturevalue(
        "sqlite_database" if embedded else "postgres_database"
    )
    broker_url = "memory://" if embedded else request.getfixturevalue("valkey_url")
    if not embedded:
        with redis.Redis.from_url(broker_url) as client:
            client.flushall()
    return Settings(
        _env_file=None,
        home=tmp_path / "home",
        database_url=database.url.render_as_string(hide_password=False),
        broker_url=broker_url,
        sandbox_book="memory",
        worker_threads=2,
    )


@pytest.fixture
def shop(request: pytest.FixtureRequest, settings: Settings) -> Mill:
    """The shop on that home, to send orders and look on; the work is the workers'."""
    name = "postgres_database" if settings.database.startswith("postgres") else "sqlite_database"
    return Mill(request.getfixturevalue(name)).stocked()
