"""What was written stays readable, refundable and priceable when a currency, a country, a part of it
or a time zone leaves the lists that we ask: the lists are asked of what comes in."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from pipeline.payments.sandbox import SandboxGateway
from pipeline.source import Policy
from pipeline.storage import catalogue, currencies
from pipeline.storage.catalogue import ProductIn
from pipeline.storage.database import Database
from pipeline.storage.tables import locations
from tests.support import MUG, Mill, an_order

GONE = {
    "currencies": ["PLN"],
    "countries": ["PL"],
    "subdivisions": ["PL-14"],
    "timezones": ["Europe/Warsaw"],
}
RULES = {
    "timezone": "Europe/Warsaw",
    "includes_tax": True,
    "tax": {
        "home": "PL",
        "zones": [
            {"name": "PL", "country": "PL", "rates": {"standard": [{"name": "VAT", "rate": "0.23"}]}},
            {"name": "Masovia", "country": "PL", "region": "PL-14",
             "rates": {"standard": [{"name": "VAT", "rate": "0.23"}]}},
            {"name": "all", "country": "*", "rates": {"standard": [{"name": "VAT", "rate": "0.19"}]}},
        ],
    },
    "shipping": {
        "default": "parcel",
        "methods": {
            "parcel": {"name": "Parcel", "tax": "proportional",
                       "rates": [{"countries": ["PL"], "price": {"PLN": "9.00"}},
                                 {"countries": ["*"], "price": {"EUR": "4.90", "PLN": "20.00"}}]},
        },
    },
    "promotions": [
        {"id": "spring", "name": "Spring", "effect": {"type": "fixed", "amount": {"PLN": "1.00"}},
         "when": {"valid_from": "2026-01-01T00:00:00", "weekdays": ["mon", "tue", "wed", "thu", "fri", "sat", "sun"]}},
    ],
}  # fmt: skip

Later = Callable[..., list[tuple[int, str]]]


@pytest.fixture
def shop(database: Database, tmp_path: Path) -> Mill:
    """A shop that sells in PLN, to Poland too: its rules, a price, a location and its policy say so."""
    currencies.adopt(database)
    policy = Policy(hold_countries=frozenset({"AQ"}), hold_over={"PLN": 10_000_000})
    gateway = SandboxGateway(tmp_path / "sandbox.db")
    mill = Mill(database, gateway=gateway, policy=policy, rules=RULES).stocked()
    with database.transaction() as tx:
        catalogue.put(tx, [ProductIn(MUG, "Mug", True, False, {"EUR": 1000, "PLN": 4321})])
        tx.execute(
            locations.insert().values(name="main", country="PL", priority=1, serves='["DE", "PL"]')
        )
    return mill


@pytest.fixture
def later(database: Database, tmp_path: Path) -> Later:
    """Does what it is told in a process of a later release."""

    def do(*steps: Sequence[Any]) -> list[tuple[int, str]]:
        url = database.url.render_as_string(hide_password=False)
        told = subprocess.run(
            [sys.executable, "-m", "tests.storage.later_lists", json.dumps(GONE)],
            input=json.dumps(steps),
            env={
                **os.environ,
                "ORDERMILL_HOME": str(tmp_path / "home"),
                "ORDERMILL_DATABASE_URL": url,
                "ORDERMILL_SANDBOX_BOOK": str(tmp_path / "sandbox.db"),
            },
            capture_output=True,
            text=True,
        )
        assert told.returncode == 0, told.stderr
        return [(code, said) for code, said in json.loads(told.stdout.splitlines()[-1])]

    return do


def polish(**changes: Any) -> dict[str, Any]:
    where = {"country": "PL", "postal_code": "00-001", "region": "PL-14"}
    return {"currency": "PLN", "ship_to": where, **changes}


def test_orders_in_a_currency_and_to_a_country_that_are_gone_are_listed_refunded_and_cancelled(
    shop: Mill, later: Later
) -> None:
    refunded = shop.accept(**polish())
    cancelled = shop.accept(**polish())
    other = shop.accept()
    shop.turn()
    assert [shop.status(n) for n in (refunded, cancelled, other)] == ["confirmed"] * 3
    day = shop.row(other).accepted_at.date().isoformat()

    told = later(
        ["run", "orders ls"],
        ["run", f"orders show {refunded} --pricing"],
        ["run", f"orders refund {refunded} --amount 10.00"],
        ["run", f"orders refund {refunded} --line 1=1"],
        ["run", f"orders cancel {cancelled}"],
        ["turn"],
        ["run", f"payments settlement --day {day}"],
        ["run", "pricing export"],
        ["run", "audit"],
        ["get", "/v1/orders"],
        ["get", f"/v1/orders/{refunded}"],
        ["get", "/v1/products"],
    )

    assert [code for code, _ in told] == [0] * 9 + [200] * 3, told
    assert "93.42" in told[0][1]
    assert told[2][1].startswith(f"Order {refunded}: 10.00 PLN refunded")
    assert told[3][1].startswith(f"Order {refunded}: 42.21 PLN refunded")
    assert shop.status(cancelled) == "cancelled"
    assert [e.amount for e in shop.gateway.book() if e.kind == "refund"] == [1000, 4221, 9342]


def test_what_was_accepted_before_is_priced_and_paid(shop: Mill, later: Later) -> None:
    gone = shop.accept(**polish())
    other = shop.accept()

    later(["turn"])

    assert [shop.status(gone), shop.status(other)] == ["confirmed", "confirmed"]
    assert shop.query("SELECT total FROM quotes ORDER BY order_id") == [(9342,), (2490,)]


def test_what_comes_in_is_asked_todays_lists(shop: Mill, later: Later) -> None:
    told = later(
        ["post", "/v1/quotes", an_order()],
        ["post", "/v1/quotes", an_order(currency="PLN")],
        ["post", "/v1/quotes", an_order(ship_to={"country": "PL"})],
    )

    assert [code for code, _ in told] == [200, 422, 422]
    assert "an ISO 4217 currency code such as EUR" in told[1][1]
    assert "a country, by its ISO 3166-1 code" in told[2][1]


def test_an_order_that_is_here_already_stays_a_duplicate_whatever_has_left_the_lists(
    shop: Mill, later: Later
) -> None:
    polish_order = an_order(**polish())
    here = shop.send(polish_order).order_id

    told = later(
        ["post", "/v1/orders", polish_order],
        ["post", "/v1/orders", {**polish_order, "metadata": {"note": "other"}}],
        ["post", "/v1/orders", an_order(**polish())],
    )

    assert [code for code, _ in told] == [200, 409, 422], told
    assert json.loads(told[0][1])["id"] == here
    assert "an ISO 4217 currency code such as EUR" in told[2][1]
    assert "a country, by its ISO 3166-1 code" in told[2][1]
