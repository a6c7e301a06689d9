"""Where the database is: every form of a Postgres address that libpq reads, and no other."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import create_engine

from pipeline.errors import ConfigurationError
from pipeline.storage import postgres
from pipeline.storage.database import Database


def told_to_libpq(address: str) -> dict[str, Any]:
    """What psycopg is given to connect with."""
    url = postgres.parse(address)
    engine = create_engine(url)
    _, options = engine.dialect.create_connect_args(url)
    options.pop("context", None)
    return options


@pytest.mark.parametrize(
    ("address", "options"),
    [
        ("postgresql://", {}),
        ("postgres://u:p%40@h/db", {"user": "u", "password": "p@", "host": "h", "dbname": "db"}),
        ("postgresql+psycopg://u:p@h:1/db", {"user": "u", "password": "p", "host": "h", "port": 1, "dbname": "db"}),
        ("postgresql:///db?host=/var/run&port=5433", {"host": "/var/run", "port": "5433", "dbname": "db"}),
        ("postgresql://u@%2Fvar%2Frun:5433/db", {"user": "u", "host": "/var/run", "port": "5433", "dbname": "db"}),
        ("postgresql://[::1]:5432/db", {"host": "::1", "port": 5432, "dbname": "db"}),
        ("postgresql://u:p/s@h/db", {"user": "u", "password": "p/s", "host": "h", "dbname": "db"}),
        ("postgresql://h/db?user=u&password=p", {"user": "u", "password": "p", "host": "h", "dbname": "db"}),
        ("host=h port=1 dbname=db user=u password='a b'", {"host": "h", "port": "1", "dbname": "db", "user": "u", "password": "a b"}),
        ("service=shop", {"service": "shop"}),
        ("postgresql://h/db?sslmode=verify-full&sslrootcert=system", {"host": "h", "dbname": "db", "sslmode": "verify-full", "sslrootcert": "system"}),
    ],
)  # fmt: skip
def test_an_address_in_any_form(address: str, options: dict[str, Any]) -> None:
    assert told_to_libpq(address) == options


@pytest.mark.parametrize(
    "address",
    [
        "postgresql://u:p@h1:1,h2:2/db",
        "postgresql+psycopg://u:p@h1:1,h2:2/db",
        "postgresql://u:p@/db?host=h1:1&host=h2:2",
        "host=h1,h2 port=1,2 user=u password=p dbname=db",
    ],
)
def test_of_several_hosts_the_one_that_takes_writes_is_meant(address: str) -> None:
    found = told_to_libpq(address)

    assert (found["host"], str(found["port"])) == ("h1,h2", "1,2")
    assert found["target_session_attrs"] == "read-write"


def test_of_several_hosts_another_may_be_named() -> None:
    found = told_to_libpq("postgresql://h1,h2/db?target_session_attrs=primary")

    assert (found["host"], found["target_session_attrs"]) == ("h1,h2", "primary")


def test_what_an_address_says_is_not_overruled() -> None:
    url = postgres.parse("postgresql://h/db?connect_timeout=30&application_name=mine")

    assert "connect_timeout" not in postgres.connect_options(url, "ordermill worker")


@pytest.mark.parametrize(
    "address",
    [
        "postgresql://u:hush@hush@h/db",
        "postgresql://u:hush@h:hush/db",
        "postgresql://u:hush@h1,h2:hush/db",
        "postgresql://u:hush@h/db?prepare_threshold=hush",
        "postgresql://u:hush@h1,h2/db?hush=1",
        "host=h password=hush no such",
        "mysql://u:hush@h/db",
        "redis://u:hush@h",
        "hush",
        "",
    ],
)
def test_what_is_no_address_is_refused_without_repeating_it(address: str) -> None:
    with pytest.raises(ConfigurationError, match="ORDERMILL_DATABASE_URL") as refused:
        Database(address)

    assert "hush" not in str(refused.value)


def test_an_option_that_there_is_not_is_named() -> None:
    with pytest.raises(ConfigurationError, match="'prepare_threshold'"):
        Database("postgresql://h/db?prepare_threshold=0")


@pytest.mark.parametrize(
    "address",
    [
        "postgresql://u:hush@h/db",
        "postgresql://u@h/db?password=hush",
        "postgresql://u@h/db?sslpassword=hush",
        "host=h user=u password=hush",
        "postgresql://u:hush@h1,h2/db",
    ],
)
def test_no_secret_is_shown(address: str) -> None:
    database = Database(address)

    assert "hush" not in database.shown
