"""What a person decides about an order on hold: checked by one table, kept beside the order, told
without saying who ordered."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from sqlalchemy import event

from pipeline import bulk, operations
from pipeline.audit.audit import audit
from pipeline.decisions import KINDS, InvalidDecision, answers_to, read_decision
from pipeline.errors import InvalidInput, NotAllowedNow, UnknownOrder
from pipeline.order import Order
from pipeline.source import Policy
from pipeline.storage import archive, erasure, orders, views
from pipeline.storage.selection import Selection, find
from tests.support import Mill

MakeMill = Callable[..., Mill]
ZONES = {
    "tax": {
        "zones": [
            {"name": "de", "country": "DE", "rates": {"standard": [{"name": "VAT", "rate": "0.19"}]}},
            {"name": "elsewhere", "country": "*", "rates": {"standard": []}},
        ]
    }
}  # fmt: skip
BERLIN = {"country": "DE", "postal_code": "D-1O115", "region": "Berlin", "street": "Torstr. 1"}


def held_for(shop: Mill, reason: str, **changes: Any) -> int:
    """An order that its price stage holds for `reason`."""
    order = shop.accept(**changes)
    shop.turn()
    assert shop.status(order) == "on_hold"
    with shop.database.transaction() as tx:
        tx.exec_driver_sql(f"UPDATE orders SET reason = '{reason}' WHERE id = {order}")
    return order


def decide(shop: Mill, *order_ids: int, **given: Any) -> None:
    with shop.database.transaction() as tx:
        announcements = operations.decide(tx, order_ids, read_decision(given), "ada")
    shop.engine.announce(announcements)


def loaded(shop: Mill, order_id: int) -> Order:
    with shop.database.snapshot() as tx:
        return orders.load(tx, [order_id])[0].order


@pytest.fixture
def shop(mill: MakeMill) -> Mill:
    """It holds every order when it prices it."""
    return mill(policy=Policy(hold_over={"EUR": 1}), rules=ZONES).stocked()


# --- The table ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"charge": "all"}, "charge: got \"all\", expected 'shown'"),
        ({"charge": None}, "charge: got null, expected 'shown'"),
        ({"vat": "yes"}, "vat: got \"yes\", expected 'form' or 'tax'"),
        ({"tax_zone": ""}, 'tax_zone: got "", expected'),
        ({"tax_zone": 5}, "tax_zone: got 5, expected a valid string"),
        ({"ship_to": {"country": "Atlantis"}}, 'ship_to.country: got "Atlantis", expected '),
        ({"ship_to": {"country": None}}, "ship_to.country: got null, expected a valid string"),
        ({"ship_to": {"zip": "10115"}}, 'ship_to.zip: got "10115", expected no such field'),
        ({"ship_to": {}}, "ship_to: got {}, expected at least one field of the address"),
        ({"refund": "all"}, 'refund: got "all", expected no such field'),
        (
            {},
            "decision: got null, expected exactly one of charge, ship_to, tax_zone, vat, wait_until",
        ),
        ({"wait_until": "soon"}, 'wait_until: got "soon", expected a day, as 2026-12-24'),
        ({"wait_until": "20261224"}, "expected a day, as 2026-12-24"),
        ({"wait_until": "9999-12-31"}, "expected a day, as 2026-12-24"),
        ({"charge": "shown", "vat": "tax"}, "decision: got null, expected exactly one of"),
    ],
)
def test_what_is_no_decision_is_refused_with_field_value_and_what_was_expected(
    given: dict[str, Any], said: str
) -> None:
    with pytest.raises(InvalidDecision) as refused:
        read_decision(given)

    assert said in str(refused.value)


def test_each_kind_says_what_it_answers_and_what_it_does() -> None:
    assert {name: sorted(kind.answers) for name, kind in KINDS.items()} == {
        "charge": ["total_differs"], "ship_to": ["address_unclear"],
        "tax_zone": ["address_unclear"], "vat": ["vat_unverified"],
        "wait_until": ["backorder_expired"],
    }  # fmt: skip
    assert [kind.name for kind in answers_to("address_unclear")] == ["ship_to", "tax_zone"]
    assert answers_to("defect") == answers_to(None) == []
    assert all(kind.does for kind in KINDS.values())


def test_a_corrected_address_forgets_the_zone_that_was_named_for_the_other() -> None:
    named = read_decision({"tax_zone": "de"}).added_to(None)
    moved = read_decision({"ship_to": {"city": "Bonn"}}).added_to(named)
    again = read_decision({"ship_to": {"region": None}}).added_to(moved)

    assert json.loads(moved) == {"ship_to": {"city": "Bonn"}}
    assert json.loads(again) == {"ship_to": {"city": "Bonn", "region": None}}


# --- One order ------------------------------------------------------------------------------------


def test_a_decision_stands_beside_the_order_and_puts_it_back_where_it_was_held(shop: Mill) -> None:
    order = held_for(shop, "total_differs")
    [(digest, body)] = shop.query("SELECT digest, body FROM order_documents")

    decide(shop, order, charge="shown")

    assert (shop.status(order), shop.row(order).stage) == ("validated", "price")
    assert loaded(shop, order).decided == {"charge": "shown"}
    assert shop.query("SELECT digest, body FROM order_documents") == [(digest, body)]
    [told] = shop.query("SELECT actor, reason, detail FROM events WHERE kind = 'decided'")
    assert (told.actor, told.reason, json.loads(told.detail)) == ("ada", None, {"charge": "shown"})
    assert audit(shop.database, shop.gateways).findings == []


def test_a_corrected_address_is_where_it_goes_and_hold_rules_are_asked_again(shop: Mill) -> None:
    order = held_for(shop, "address_unclear", ship_to=BERLIN)

    decide(shop, order, ship_to={"postal_code": "10115", "region": None, "country": "AT"})

    assert (shop.status(order), shop.row(order).stage) == ("received", "validate")
    seen = loaded(shop, order)
    assert seen.ship_to == {"country": "AT", "postal_code": "10115", "street": "Torstr. 1"}
    assert seen.country == "AT"
    assert seen.document["ship_to"] == BERLIN


@pytest.fixture
def careful(mill: MakeMill) -> Mill:
    """It holds orders to three countries, and asks where in France they go."""
    rates = {"standard": [{"name": "VAT", "rate": "0.2"}]}
    zones = [
        {"name": "Paris", "country": "FR", "postal_prefix": "75", "rates": rates},
        {"name": "everywhere", "country": "*", "rates": rates},
    ]
    policy = Policy(hold_countries=frozenset({"FR", "AT", "RE"}), hold_over={"EUR": 1})
    return mill(policy=policy, rules={"tax": {"zones": zones}}).stocked()


def let_pass(shop: Mill, order: int) -> None:
    with shop.database.transaction() as tx:
        announcements = operations.requeue(tx, [order], "ada")
    shop.engine.announce(announcements)
    shop.turn()


def test_who_let_one_country_pass_has_not_let_another_pass(careful: Mill) -> None:
    order = careful.accept(ship_to={"country": "FR"})
    careful.turn()
    assert careful.row(order).reason == "country_held"
    let_pass(careful, order)
    assert careful.row(order).reason == "address_unclear"

    decide(careful, order, ship_to={"country": "AT"})
    careful.turn()

    assert (careful.status(order), careful.row(order).reason) == ("on_hold", "country_held")
    [*_, held] = careful.query("SELECT detail FROM events WHERE kind = 'held' ORDER BY seq")
    assert json.loads(held.detail) == {"country": "AT"}
    let_pass(careful, order)
    assert careful.status(order) == "confirmed"


@pytest.mark.parametrize(
    ("correction", "reason"),
    [
        ({"postal_code": "75001"}, None),  # the country that was let pass
        ({"country": "DE"}, None),  # one that nobody holds
        ({"postal_code": "97400"}, "country_held"),  # Réunion, which is held as itself, too
    ],
)
def test_a_correction_is_held_again_only_for_what_nobody_has_let_pass(
    careful: Mill, correction: dict[str, str], reason: str | None
) -> None:
    order = careful.accept(ship_to={"country": "FR", "postal_code": "7"})
    careful.turn()
    let_pass(careful, order)

    decide(careful, order, ship_to=correction)
    careful.turn()

    assert careful.row(order).reason == reason


def test_of_a_crowd_only_those_that_would_go_to_another_held_country_are_held_again(
    careful: Mill,
) -> None:
    let_pass_before, new = (careful.accept(ship_to={"country": "FR"}) for _ in range(2))
    careful.turn()
    let_pass(careful, let_pass_before)
    with careful.database.transaction() as tx:
        tx.exec_driver_sql(f"UPDATE orders SET reason = 'address_unclear' WHERE id = {new}")

    decide(careful, let_pass_before, new, ship_to={"postal_code": "75001"})
    careful.turn()

    assert careful.status(let_pass_before) == "confirmed"
    assert careful.row(new).reason == "country_held"


def test_a_timeline_says_which_fields_of_an_address_were_corrected_and_not_to_what(
    shop: Mill,
) -> None:
    order = held_for(shop, "address_unclear", ship_to=BERLIN)

    decide(shop, order, ship_to={"street": "Torstraße 17", "city": "Berlin"})

    [(detail,)] = shop.query("SELECT detail FROM events WHERE kind = 'decided'")
    assert json.loads(detail) == {"ship_to_fields": ["city", "street"]}


def test_a_zone_that_the_rules_do_not_have_is_refused(shop: Mill) -> None:
    order = held_for(shop, "address_unclear")

    with pytest.raises(InvalidInput, match=r"tax_zone: got .*mars.*: one of de, else"):
        decide(shop, order, tax_zone="mars")
    decide(shop, order, tax_zone="elsewhere")

    assert loaded(shop, order).decided == {"tax_zone": "elsewhere"}


def test_an_order_that_is_held_for_another_reason_is_left_as_it_is(shop: Mill) -> None:
    order, other = held_for(shop, "total_differs"), held_for(shop, "no_tax_rate")
    before = shop.timeline(order)

    with pytest.raises(NotAllowedNow, match=f"order {other} is on hold for no_tax_rate .* total_d"):
        decide(shop, order, other, charge="shown")

    assert (shop.timeline(order), shop.status(order)) == (before, "on_hold")
    assert loaded(shop, order).decided == {}


def test_an_order_that_is_not_on_hold_or_not_there_can_not_be_decided_about(
    mill: MakeMill,
) -> None:
    shop = mill().stocked()
    order = shop.accept()
    shop.turn()

    with pytest.raises(NotAllowedNow, match="is confirmed"):
        decide(shop, order, vat="tax")
    with pytest.raises(UnknownOrder):
        decide(shop, order + 1, vat="tax")


def test_a_requeue_is_no_decision(shop: Mill) -> None:
    order = held_for(shop, "total_differs")

    with shop.database.transaction() as tx:
        operations.requeue(tx, [order], "ada")
    shop.turn()

    assert shop.status(order) == "on_hold"
    assert loaded(shop, order).decided == {}


# --- Many -----------------------------------------------------------------------------------------


def test_of_all_that_match_those_are_decided_about_that_the_decision_answers(shop: Mill) -> None:
    answered = [held_for(shop, "vat_unverified") for _ in range(3)]
    other = held_for(shop, "total_differs")
    decision = read_decision({"vat": "tax"})
    with shop.database.snapshot() as tx:
        found = find(tx, bulk.answered(Selection(source="shop"), decision))

    tally = bulk.move_all(
        shop.database, found, bulk.deciding(decision), "ada", shop.engine.announce
    )

    assert (found.orders, tally.moved, tally.skipped) == (3, 3, 0)
    assert [loaded(shop, order).decided for order in answered] == [{"vat": "tax"}] * 3
    assert shop.status(other) == "on_hold"
    assert audit(shop.database, shop.gateways).findings == []


def test_a_filter_for_a_reason_that_it_does_not_answer_is_refused() -> None:
    with pytest.raises(InvalidInput, match="reason: got defect, expected total_differs"):
        bulk.answered(Selection(reason="defect"), read_decision({"charge": "shown"}))


@pytest.fixture
def statements(shop: Mill) -> Iterator[list[str]]:
    """What the database is asked."""
    heard: list[str] = []

    def hear(_c: Any, _cursor: Any, statement: str, *_: Any) -> None:
        heard.append(statement)

    event.listen(shop.database.engine, "before_cursor_execute", hear)
    yield heard
    event.remove(shop.database.engine, "before_cursor_execute", hear)


def test_many_are_decided_about_in_as_many_statements_as_few(
    shop: Mill, statements: list[str]
) -> None:
    few = [held_for(shop, "vat_unverified") for _ in range(2)]
    many = [held_for(shop, "vat_unverified") for _ in range(12)]

    statements.clear()
    decide(shop, *few, vat="form")
    first = len(statements)
    statements.clear()
    decide(shop, *many, vat="form")

    assert len(statements) == first


# --- What becomes of it ---------------------------------------------------------------------------


def archived(shop: Mill, order: int) -> None:
    shop.accept()  # the newest is never archived
    with shop.database.transaction() as tx:
        assert archive.move(tx, [order]) == 1


def test_what_was_decided_is_in_the_archive_and_comes_back(shop: Mill) -> None:
    order = held_for(shop, "address_unclear", ship_to=BERLIN)
    decide(shop, order, ship_to={"postal_code": "10115"})
    with shop.database.transaction() as tx:
        operations.cancel(tx, order, "ada")
    shop.turn()

    archived(shop, order)
    with shop.database.snapshot() as tx:
        told = views.one(tx, order)["decided"], views.summary(tx, order)["decided"]
    with shop.database.transaction() as tx:
        archive.restore(tx, [order], "ada")

    assert told == ({"ship_to": {"postal_code": "10115"}},) * 2
    assert loaded(shop, order).decided == {"ship_to": {"postal_code": "10115"}}


@pytest.mark.parametrize("is_archived", [False, True], ids=["live", "archived"])
def test_of_a_corrected_address_erasure_leaves_the_place(shop: Mill, is_archived: bool) -> None:
    order = held_for(shop, "address_unclear", ship_to=BERLIN)
    decide(shop, order, ship_to={"postal_code": "10115", "street": "Torstr. 17", "country": "AT"})
    with shop.database.transaction() as tx:
        operations.cancel(tx, order, "ada")
    shop.turn()
    if is_archived:
        archived(shop, order)

    with shop.database.transaction() as tx:
        assert erasure.erase(tx, [order], "ada").erased == [order]

    with shop.database.snapshot() as tx:
        told = views.one(tx, order)
    assert told["decided"] == {"ship_to": {"country": "AT", "postal_code": "10"}}
    assert "Torstr" not in json.dumps(told, default=str)
