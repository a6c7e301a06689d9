"""A shop behind the API, in this process; and its keys."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient

from pipeline import access
from pipeline.access import OF_OPERATORS, OF_SOURCES, Scope
from pipeline.assembly import Application, assemble
from pipeline.payments.sandbox import SandboxGateway
from pipeline.settings import Settings
from pipeline.source import Policy
from pipeline.storage.database import Database
from scheduler.table import JOBS
from tests.support import Mill
from web.app import create_app

MakeKey = Callable[..., str]


class Silent:
    def announce(self, step: str, dispatch_id: int) -> None: ...


@pytest.fixture
def gateway() -> SandboxGateway:
    return SandboxGateway(None)


@pytest.fixture
def application(
    database: Database, gateway: SandboxGateway, tmp_path: Path
) -> Iterator[Application]:
    url = database.url.render_as_string(hide_password=False)
    settings = Settings(_env_file=None, home=tmp_path / "home", database_url=url)
    made = assemble(settings, Silent(), gateways={"sandbox": gateway})
    yield made
    made.close()


@pytest.fixture
def app(application: Application) -> FastAPI:
    return create_app(application, JOBS)


@pytest.fixture
def shop(database: Database, gateway: SandboxGateway) -> Mill:
    """Sources `shop` and `rival`, products and stock; its engine is turned by the test's hand."""
    mill = Mill(database, gateway=gateway).stocked()
    mill.another_source("rival", Policy())
    return mill


@pytest.fixture
def make_key(shop: Mill) -> MakeKey:
    """Makes a key of a source, or (None) an operator: with all scopes it may have, or those given."""

    def make(source: str | None = "shop", *scopes: Scope, **options: Any) -> str:
        allowed = OF_SOURCES if source else OF_OPERATORS
        options = {"rate": 100_000, "name": source or "operator", **options}
        name = options.pop("name")
        with shop.database.transaction() as tx:
            return access.create(
                tx, name, "test", source=source, scopes=scopes or allowed, **options
            )

    return make


@pytest.fixture
def as_(app: FastAPI, make_key: MakeKey) -> Iterator[Callable[..., TestClient]]:
    """A client with the key of a source, or (None) an operator."""
    with TestClient(app, raise_server_exceptions=False) as client:

        def make(source: str | None = "shop", *scopes: Scope, **options: Any) -> TestClient:
            key = make_key(source, *scopes, **options)
            other = TestClient(app, raise_server_exceptions=False)
            other.portal = client.portal  # one loop, as in a process
            other.headers["Authorization"] = f"Bearer {key}"
            return other

        yield make


@pytest.fixture
def client(as_: Callable[..., TestClient]) -> TestClient:
    return as_("shop")


@pytest.fixture
def operator(as_: Callable[..., TestClient]) -> TestClient:
    return as_(None)
