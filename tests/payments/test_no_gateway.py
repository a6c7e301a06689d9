"""Outside the embedded home nobody's orders are confirmed by a gateway that was never named."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from ordermill import database as command
from pipeline import access, operations
from pipeline.access import OF_SOURCES
from pipeline.assembly import Application, assemble
from pipeline.check import check
from pipeline.checked import Check
from pipeline.forecast import Fate, forecast
from pipeline.payments.choice import GatewayChoice
from pipeline.settings import Settings
from pipeline.source import Policy
from pipeline.storage import sources
from pipeline.storage.database import Database
from scheduler.table import JOBS
from tests.support import Mill, an_order
from web.app import create_app
from workers.actors import _accept as take_message

LIVE = "sk_live_1"
OUTSIDE = GatewayChoice(is_home=False)
BESIDE_A_LIVE_KEY = GatewayChoice(is_home=False, has_live_key=True)

UNNAMED = Policy()
SANDBOX = Policy(gateway="sandbox")


@pytest.mark.parametrize(
    ("choice", "policy", "gateway"),
    [
        (GatewayChoice(), UNNAMED, "sandbox"),
        (GatewayChoice(), Policy(gateway="stripe"), "stripe"),
        (OUTSIDE, UNNAMED, None),
        (OUTSIDE, SANDBOX, "sandbox"),
        (OUTSIDE, Policy(gateway="manual"), "manual"),
        (BESIDE_A_LIVE_KEY, SANDBOX, None),
        (BESIDE_A_LIVE_KEY, Policy(gateway="stripe"), "stripe"),
        (BESIDE_A_LIVE_KEY, Policy(gateway="manual"), "manual"),
    ],
)
def test_a_gateway_is_assumed_at_home_only(
    choice: GatewayChoice, policy: Policy, gateway: str | None
) -> None:
    assert choice.of(policy) == gateway
    assert (choice.lack("web", policy) is None) == (gateway is not None)


@pytest.mark.parametrize(
    ("told", "home"),
    [
        ({}, True),
        ({"database_url": "sqlite:////var/lib/shop.db"}, True),
        ({"database_url": "postgresql://db/shop"}, False),
        ({"broker_url": "redis://broker"}, False),
    ],
)
def test_home_is_sqlite_with_the_broker_in_the_process(told: dict[str, str], home: bool) -> None:
    assert Settings(_env_file=None, **told).is_home is home  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("key", "live"),
    [("", False), ("sk_test_1", False), ("rk_test_1", False), (LIVE, True), ("rk_live_1", True),
     ("sk_1", True)],
)  # fmt: skip
def test_a_key_is_live_unless_it_says_that_it_is_for_tests(key: str, live: bool) -> None:
    assert Settings(_env_file=None, stripe_key=key).has_live_key is live  # type: ignore[arg-type]


class Announced(list[tuple[str, int]]):
    def announce(self, step: str, dispatch_id: int) -> None:
        self.append((step, dispatch_id))


def settings(database: Database, home: Path, **more: Any) -> Settings:
    url = database.url.render_as_string(hide_password=False)
    return Settings(_env_file=None, home=home, database_url=url, sandbox_book="memory", **more)


@pytest.fixture
def database(postgres_database: Database) -> Database:
    return postgres_database


@pytest.fixture
def app(database: Database, tmp_path: Path) -> Iterator[Application]:
    made = assemble(settings(database, tmp_path), Announced())
    yield made
    made.close()


@pytest.fixture
def shop(database: Database) -> Mill:
    """Its source names no gateway."""
    made = Mill(database).stocked()
    name(database, UNNAMED)
    return made


def name(database: Database, policy: Policy) -> None:
    with database.transaction() as tx:
        sources.put(tx, "shop", policy)


def work(
    app: Application, steps: tuple[str, ...] = ("validate", "price", "pay", "reserve", "notify")
) -> None:
    for step in steps:
        while app.engine.work(step):
            pass


class Door:
    """The API, to the source."""

    def __init__(self, app: Application) -> None:
        with app.database.transaction() as tx:
            key = access.create(tx, "till", "test", source="shop", scopes=OF_SOURCES)
        self._headers = {"Authorization": f"Bearer {key}"}
        self._client = TestClient(create_app(app, JOBS))

    def place(self, order: dict[str, Any]) -> Any:
        return self._client.post("/v1/orders", json=order, headers=self._headers)

    def place_all(self, lines: bytes) -> Any:
        headers = {**self._headers, "Content-Type": "application/x-ndjson"}
        return self._client.post("/v1/orders/batch", content=lines, headers=headers)


def test_http_refuses_orders_that_nobody_would_pay(app: Application, shop: Mill) -> None:
    door = Door(app)

    one, many = door.place(an_order()), door.place_all(b"{}\n")

    for answer in (one, many):
        assert answer.status_code == 409
        assert answer.json()["type"].endswith("/no_gateway")
        assert "names no gateway" in answer.json()["detail"]
    assert shop.query("SELECT count(*) FROM orders") == [(0,)]


def test_an_order_that_is_here_is_told_of_all_the_same(app: Application, shop: Mill) -> None:
    order = an_order()
    shop.send(order)

    again = Door(app).place(order)

    assert (again.status_code, again.json()["verdict"]) == (200, "duplicate")


def test_http_takes_orders_once_a_gateway_is_named(
    app: Application, shop: Mill, database: Database
) -> None:
    name(database, SANDBOX)

    assert Door(app).place(an_order()).status_code == 202


def test_a_live_key_closes_the_sandbox(database: Database, tmp_path: Path, shop: Mill) -> None:
    name(database, SANDBOX)
    app = assemble(settings(database, tmp_path, stripe_key=LIVE), Announced())

    refused = Door(app).place(an_order())
    app.close()

    assert refused.status_code == 409
    assert "moves no money" in refused.json()["detail"]


def test_messages_wait_for_a_gateway_and_go_on(
    app: Application, shop: Mill, database: Database
) -> None:
    take_message(app, "shop", [an_order(external_id="m-1")])
    work(app)
    ((order_id, status, reason, stage),) = shop.query(
        "SELECT id, status, reason, stage FROM orders WHERE external_id = 'm-1'"
    )
    assert (status, reason, stage) == ("on_hold", "no_gateway", "validate")

    name(database, SANDBOX)
    with database.transaction() as tx:
        operations.requeue(tx, [order_id], "ada")
    work(app)

    assert shop.status(order_id) == "confirmed"


def test_an_order_in_hand_waits_where_it_would_be_paid(
    app: Application, shop: Mill, database: Database, tmp_path: Path
) -> None:
    name(database, SANDBOX)
    order = shop.accept()
    early = assemble(settings(database, tmp_path), Announced(), serves=["validate", "price"])
    work(early, ("validate", "price"))
    early.close()
    assert shop.status(order) == "priced"
    name(database, UNNAMED)

    work(app)

    row = shop.row(order)
    assert (row.status, row.reason, row.stage) == ("on_hold", "no_gateway", "pay")
    assert shop.query("SELECT count(*) FROM payment_operations") == [(0,)]


def test_what_was_begun_at_a_gateway_is_brought_to_its_end_there(
    app: Application, shop: Mill, database: Database
) -> None:
    name(database, Policy(gateway="sandbox", capture="later"))
    order = shop.accept()
    work(app)
    name(database, UNNAMED)

    with database.transaction() as tx:
        operations.capture(tx, order, "ada")
    app.payment_tasks.run()

    kinds = shop.query("SELECT kind FROM payment_operations WHERE state = 'succeeded'")
    assert {kind for (kind,) in kinds} == {"authorize", "capture"}


def told(settings: Settings, database: Database) -> list[Check]:
    return [c for c in check(settings, database) if c.name == "gateway"]


def test_check_errs_where_orders_wait_for_a_gateway(
    database: Database, tmp_path: Path, shop: Mill
) -> None:
    (found,) = told(settings(database, tmp_path), database)

    assert found.level == "error"
    assert "shop names no gateway" in found.found
    assert "ordermill sources set shop --set gateway=stripe" in found.mend


def test_check_errs_where_the_sandbox_stands_beside_a_live_key(
    database: Database, tmp_path: Path, shop: Mill
) -> None:
    name(database, SANDBOX)

    (beside,) = told(settings(database, tmp_path, stripe_key=LIVE), database)
    (alone,) = told(settings(database, tmp_path, stripe_key="sk_test_1"), database)

    assert (beside.level, alone.level) == ("error", "warning")
    assert "nobody pays" in alone.found


def test_check_is_content_with_the_sandbox_at_home_but_for_a_live_key(
    sqlite_database: Database, tmp_path: Path
) -> None:
    name(sqlite_database, UNNAMED)

    assert told(settings(sqlite_database, tmp_path), sqlite_database) == []
    (found,) = told(settings(sqlite_database, tmp_path, stripe_key=LIVE), sqlite_database)
    assert found.level == "warning"


def test_the_forecast_counts_orders_that_would_wait_for_a_gateway(
    database: Database, shop: Mill
) -> None:
    shop.accept()

    (finding,) = forecast(database, 3600, choice=OUTSIDE).findings

    assert finding.fate == Fate("on_hold", "no_gateway")


# The upgrade


@pytest.fixture
def upgrade(database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    from typer.testing import CliRunner

    monkeypatch.setenv("ORDERMILL_HOME", str(tmp_path))
    monkeypatch.setenv("ORDERMILL_DATABASE_URL", database.url.render_as_string(hide_password=False))

    def run(*arguments: str, answer: str = "") -> tuple[int, str]:
        ended = CliRunner().invoke(command.db, ["upgrade", *arguments], input=answer)
        return ended.exit_code, ended.output

    return run


@pytest.mark.parametrize("answer", ["", "n\n"])
def test_the_upgrade_lists_the_sources_concerned_and_asks(
    upgrade: Any, shop: Mill, answer: str
) -> None:
    code, said = upgrade(answer=answer)

    assert code == 1
    assert "the source shop names no gateway: its orders will wait" in said
    assert "The schema" not in said


@pytest.mark.parametrize(("arguments", "answer"), [([], "y\n"), (["--yes"], "")])
def test_the_upgrade_goes_on_when_it_is_told_to(
    upgrade: Any, shop: Mill, arguments: list[str], answer: str
) -> None:
    code, said = upgrade(*arguments, answer=answer)

    assert code == 0
    assert "shop names no gateway" in said
    assert "The schema is current already" in said


def test_the_upgrade_asks_nothing_where_all_name_one(
    upgrade: Any, shop: Mill, database: Database
) -> None:
    name(database, SANDBOX)

    assert upgrade() == (0, "The schema is current already.\n")
