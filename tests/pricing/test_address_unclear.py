"""An order whose address can't be told waits, and goes on when a person has said where it goes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from pipeline.decisions import read_decision
from pipeline.operations import decide, requeue
from tests.pricing.carts import cart, line, quoted
from tests.support import Mill

MakeMill = Callable[..., Mill]


def zone(name: str, rate: str, **place: str) -> dict[str, Any]:
    return {"name": name, "rates": {"standard": [{"name": "VAT", "rate": rate}]}, **place}


RULES = {
    "tax": {
        "home": "DE",
        "zones": [
            zone("Germany", "0.19", country="DE"),
            zone("Helgoland", "0", country="DE", postal_prefix="27498"),
        ],
    }
}
COURIER = {
    "default": "courier",
    "methods": {
        "courier": {
            "name": "Courier",
            "rates": [{"postal_prefixes": ["10"], "price": {"EUR": 5}}, {"price": {"EUR": 9}}],
        }
    },
}


def where(shop: Mill, order: int) -> tuple[str, str | None]:
    row = shop.row(order)
    return row.status, row.reason


def total(shop: Mill, order: int) -> int:
    (row,) = shop.query("SELECT total FROM quotes WHERE order_id = :id", id=order)
    return int(row.total)


def decided(shop: Mill, order: int, **what: Any) -> None:
    with shop.database.transaction() as tx:
        decide(tx, [order], read_decision(what), "ada")
    shop.turn()


def held(shop: Mill, **address: Any) -> int:
    order = shop.accept(ship_to={"country": "DE", **address})
    shop.turn()
    assert where(shop, order) == ("on_hold", "address_unclear")
    return order


@pytest.mark.parametrize("address", [{}, {"postal_code": "1067"}, {"postal_code": "A-1010"}])
def test_it_waits_and_a_requeue_alone_changes_nothing(
    mill: MakeMill, address: dict[str, Any]
) -> None:
    shop = mill(rules=RULES).stocked()
    order = held(shop, **address)

    with shop.database.transaction() as tx:
        requeue(tx, [order], "ada")
    shop.turn()

    assert where(shop, order) == ("on_hold", "address_unclear")


def test_a_corrected_address_is_priced_as_if_it_had_been_sent(mill: MakeMill) -> None:
    shop = mill(rules=RULES).stocked()
    order = held(shop, postal_code="1067")

    decided(shop, order, ship_to={"postal_code": "01067"})

    assert where(shop, order) == ("confirmed", None)
    assert total(shop, order) == 2380


def test_a_correction_that_can_t_be_told_either_waits_again(mill: MakeMill) -> None:
    shop = mill(rules=RULES).stocked()
    order = held(shop)

    decided(shop, order, ship_to={"postal_code": "106"})

    assert where(shop, order) == ("on_hold", "address_unclear")


@pytest.mark.parametrize(("name", "amount"), [("Germany", 2380), ("Helgoland", 2000)])
def test_the_zone_that_a_person_names_counts(mill: MakeMill, name: str, amount: int) -> None:
    shop = mill(rules=RULES).stocked()
    order = held(shop)

    decided(shop, order, tax_zone=name)

    assert (where(shop, order), total(shop, order)) == (("confirmed", None), amount)


def test_a_named_zone_does_not_tell_where_the_courier_goes(mill: MakeMill) -> None:
    shop = mill(rules={**RULES, "shipping": COURIER}).stocked()
    order = held(shop)

    decided(shop, order, tax_zone="Germany")
    assert where(shop, order) == ("on_hold", "address_unclear")
    decided(shop, order, ship_to={"postal_code": "10115"})

    assert where(shop, order) == ("confirmed", None)


def test_what_is_sold_as_agreed_asks_for_no_zone_where_the_rules_have_none() -> None:
    found = quoted(cart(line("MUG", 1000), as_sold=True), shipping=COURIER)

    assert (found.total, found.shipping) == (1000, None)
