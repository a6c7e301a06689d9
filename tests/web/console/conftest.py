"""A console on the test's database, operators who may use it, and a shop whose orders they see."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from argon2 import PasswordHasher
from fastapi.testclient import TestClient

from pipeline import operators as people
from pipeline.assembly import Application, assemble
from pipeline.payments.sandbox import SandboxGateway
from pipeline.settings import Settings
from pipeline.source import Policy
from pipeline.storage import operators, sources
from pipeline.storage.database import Database
from scheduler.table import JOBS
from tests.support import Mill
from web.app import create_app
from web.console import pulse

PASSWORD = "correct horse battery"


class Announced:
    """An announcer that keeps what it is told."""

    def __init__(self) -> None:
        self.told: list[tuple[str, int]] = []

    def announce(self, step: str, dispatch_id: int) -> None:
        self.told.append((step, dispatch_id))


@pytest.fixture(autouse=True)
def cheap_passwords(monkeypatch: pytest.MonkeyPatch) -> None:
    """What takes a tenth of a second in earnest takes none in a test."""
    hasher = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
    monkeypatch.setattr(people, "_hasher", lambda: hasher)


@pytest.fixture(autouse=True)
def fresh_figures(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests don't wait for a second to be over."""
    monkeypatch.setattr(pulse, "FRESH", 0.0)
    monkeypatch.setattr(pulse, "WORTH", 0.0)


@pytest.fixture
def gateway() -> SandboxGateway:
    return SandboxGateway(None)


@pytest.fixture
def announced() -> Announced:
    return Announced()


@pytest.fixture
def application(
    database: Database, gateway: SandboxGateway, announced: Announced, tmp_path: Path
) -> Iterator[Application]:
    url = database.url.render_as_string(hide_password=False)
    settings = Settings(_env_file=None, home=tmp_path / "home", database_url=url)
    made = assemble(settings, announced, gateways={"sandbox": gateway})
    yield made
    made.close()


@pytest.fixture
def shop(database: Database, gateway: SandboxGateway) -> Mill:
    return Mill(database, gateway=gateway).stocked()


class Browser:
    """Signs in, and sends forms as a page of the console has them."""

    def __init__(self, client: TestClient) -> None:
        self.client = client

    def get(self, path: str) -> httpx.Response:
        return self.client.get(f"/console{path}")

    def text(self, path: str) -> str:
        answer = self.get(path)
        assert answer.status_code == 200, answer.text
        return answer.text

    def form_of(self, path: str) -> dict[str, str]:
        """The hidden fields of the page's main form."""
        main = self.text(path).partition("<main")[2]
        found = re.findall(r'<input type="hidden" name="([^"]+)" value="([^"]*)"', main)
        return {name: value.replace("&#43;", "+") for name, value in found}

    def post(self, path: str, **form: Any) -> httpx.Response:
        return self.client.post(f"/console{path}", data=form, headers={"Origin": ORIGIN})

    def do(self, path: str, asked: str = "", **form: Any) -> httpx.Response:
        """Ask for the page that says what will happen, and send its form."""
        return self.post(path, **{**self.form_of(path + asked), **form})

    @property
    def csrf(self) -> str:
        return self.form_of("/me")["csrf"]

    def sign_in(self, name: str, password: str = PASSWORD) -> httpx.Response:
        return self.post("/sign-in", name=name, password=password)


ORIGIN = "http://127.0.0.1"


@pytest.fixture
def browser(application: Application) -> Iterator[Callable[..., Browser]]:
    """Makes browsers; each signed in as an operator of a role, or (None) as nobody."""
    app = create_app(application, JOBS)
    opened: list[TestClient] = []
    with TestClient(app, base_url=ORIGIN) as first:  # one event loop for all

        def make(role: str | None = "operator", name: str | None = None) -> Browser:
            client = TestClient(app, base_url=ORIGIN, raise_server_exceptions=False)
            client.portal = first.portal
            opened.append(client)
            made = Browser(client)
            if role is not None:
                name = name or role
                with application.database.transaction() as tx:
                    if operators.one(tx, name) is None:
                        operators.create(tx, name, role, people.hash_password(PASSWORD))
                assert made.sign_in(name).status_code == 200
            return made

        yield make
        for client in opened:
            client.close()


def held(shop: Mill, orders: int, country: str = "FR", **changes: Any) -> list[int]:
    """So many orders on hold, as their source holds orders to that country."""
    policy = shop.source.policy.model_copy(update={"hold_countries": frozenset({country})})
    with shop.database.transaction() as tx:
        sources.put(tx, "shop", Policy.model_validate(policy.model_dump()))
        shop.source = sources.by_name(tx, "shop")
    there = {"country": country, "postal_code": "75001"}
    made = [shop.accept(ship_to=there, **changes) for _ in range(orders)]
    shop.turn()
    return made


@pytest.fixture
def grace(browser: Callable[..., Browser]) -> Browser:
    return browser("operator", "grace")


def logged(shop: Mill) -> list[tuple[str, str, str | None, str]]:
    """What the log has but for signing in."""
    rows = shop.query(
        "SELECT operator, action, target, outcome FROM operators_log "
        "WHERE action NOT LIKE 'sign%' ORDER BY id"
    )
    return [tuple(row) for row in rows]


def actors(shop: Mill, order_id: int, kind: str) -> list[str]:
    found = shop.query(
        "SELECT actor FROM events WHERE order_id = :id AND kind = :kind", id=order_id, kind=kind
    )
    return [row.actor for row in found]
