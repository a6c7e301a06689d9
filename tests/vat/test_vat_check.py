"""An order does without tax for a VAT id that VIES confirms; for one that it doesn't, a person decides,
or the source's policy does. What was found out stays with the order."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import event

from pipeline import operations
from pipeline.audit.audit import audit
from pipeline.decisions import read_decision
from pipeline.hold_reasons import hold_of
from pipeline.source import Policy
from pipeline.storage import archive, erasure, views
from pipeline.vat.vies import Vies
from tests.support import MUG, Mill
from tests.vat.service import Asked, Service, error, invalid, saying, valid

MakeMill = Callable[..., Mill]

#: A shop in Germany, at net prices.
RULES: dict[str, Any] = {
    "includes_tax": False,
    "tax": {
        "home": "DE",
        "zones": [
            {"name": "de", "country": "DE", "rates": {"standard": [{"name": "VAT", "rate": "0.19"}]}},
            {"name": "fr", "country": "FR", "rates": {"standard": [{"name": "TVA", "rate": "0.2"}]}},
        ],
    },
}  # fmt: skip
FRENCH, OURS = "FR40303265045", "DE136695976"
BUSINESS: dict[str, Any] = {
    "customer": {"email": "achat@example.com", "vat_id": FRENCH},
    "ship_to": {"country": "FR"},
    "lines": [(MUG, 1)],
}


@pytest.fixture
def vies(service: Service) -> Vies:
    return Vies(service.url, OURS, limit=20.0, failures=1_000)


@pytest.fixture
def shop(mill: MakeMill, vies: Vies) -> Mill:
    return mill(policy=Policy(vat_check="vies"), rules=RULES, vat_ids=vies).stocked()


def ordered(shop: Mill, **changes: Any) -> int:
    order = shop.accept(**{**BUSINESS, **changes})
    shop.turn()
    return order


def told(shop: Mill, order: int) -> dict[str, Any]:
    with shop.database.snapshot() as tx:
        return views.one(tx, order)


def decide(shop: Mill, order: int, vat: str) -> None:
    with shop.database.transaction() as tx:
        operations.decide(tx, [order], read_decision({"vat": vat}), "ada")
    shop.turn()


def requeue(shop: Mill, order: int) -> None:
    with shop.database.transaction() as tx:
        operations.requeue(tx, [order], "ada")
    shop.turn()


# --- Up, down, slow, lying ------------------------------------------------------------------------


def lying(asked: Asked) -> Any:
    """It calls valid what nobody asked about."""
    return saying(vatNumber="99999999999")(asked)


@pytest.mark.parametrize(
    ("answer", "unknown", "status", "tax", "said"),
    [
        ("up", "hold", "confirmed", 0, "VALID"),
        ("down", "hold", "on_hold", None, "MS_UNAVAILABLE"),
        ("slow", "hold", "on_hold", None, "no answer within 0.5 s"),
        ("lying", "hold", "on_hold", None, "its answer is about another VAT id"),
        ("down", "form", "confirmed", 0, "MS_UNAVAILABLE"),
        ("slow", "form", "confirmed", 0, "no answer within 0.5 s"),
        ("lying", "form", "confirmed", 0, "its answer is about another VAT id"),
    ],
)
def test_vies_up_down_slow_and_lying_each_have_their_right_end(
    mill: MakeMill, service: Service,
    answer: str, unknown: str, status: str, tax: int | None, said: str,
) -> None:  # fmt: skip
    service.answer = {
        "up": valid, "down": error("MS_UNAVAILABLE"), "slow": service.never, "lying": lying,
    }[answer]  # fmt: skip
    policy = Policy.model_validate({"vat_check": "vies", "vat_unknown": unknown})
    patient = Vies(service.url, OURS, limit=0.5 if answer == "slow" else 20.0, failures=1_000)
    shop = mill(policy=policy, rules=RULES, vat_ids=patient).stocked()

    order = ordered(shop)

    found = told(shop, order)
    assert (found["status"], found["quote"] and found["quote"]["tax"]) == (status, tax)
    assert found["vat_check"]["said"] == said
    assert found["vat_check"]["valid"] == (True if answer == "up" else None)
    assert len(service.asked) == (1 if answer == "up" else 4)
    if status == "on_hold":
        hold = hold_of(order, found["reason"], found["events"])
        assert (found["reason"], hold["detail"]["vies"]) == ("vat_unverified", said)
        assert hold["detail"]["looks"] == 3  # it was asked once more when it was given up
        assert hold["command"] == f"ordermill orders decide {order} --vat form"
        assert hold["decisions"] == ["vat"]
    assert audit(shop.database, shop.gateways).findings == []


@pytest.mark.parametrize("unknown", ["hold", "form"])
def test_an_id_that_vies_calls_invalid_waits_whatever_the_policy_says_of_no_answer(
    mill: MakeMill, service: Service, vies: Vies, unknown: str
) -> None:
    service.answer = invalid
    policy = Policy.model_validate({"vat_check": "vies", "vat_unknown": unknown})
    shop = mill(policy=policy, rules=RULES, vat_ids=vies).stocked()

    order = ordered(shop)

    assert (shop.status(order), shop.row(order).reason) == ("on_hold", "vat_unverified")
    assert len(service.asked) == 1


def test_a_fault_of_our_own_is_not_tried_again(shop: Mill, service: Service) -> None:
    service.answer = error("INVALID_REQUESTER_INFO")

    order = ordered(shop)

    assert shop.status(order) == "on_hold"
    assert len(service.asked) == 1


def test_a_service_that_comes_back_in_time_is_asked_again(shop: Mill, service: Service) -> None:
    answers = iter([error("TIMEOUT"), error("MS_UNAVAILABLE"), valid])
    service.answer = lambda asked: next(answers)(asked)

    order = ordered(shop)

    assert shop.status(order) == "confirmed"
    assert len(service.asked) == 3


# --- What a person decides ------------------------------------------------------------------------


@pytest.mark.parametrize(("vat", "tax", "total"), [("form", 0, 1000), ("tax", 200, 1200)])
def test_a_person_decides_by_form_or_tax(
    shop: Mill, service: Service, vat: str, tax: int, total: int
) -> None:
    service.answer = invalid
    order = ordered(shop)

    decide(shop, order, vat)

    found = told(shop, order)
    assert (found["status"], found["quote"]["tax"], found["total"]) == ("confirmed", tax, total)
    assert found["vat_check"]["said"] == "INVALID"
    assert len(service.asked) == 1


def test_a_requeue_without_a_decision_asks_again_and_holds_again(
    shop: Mill, service: Service
) -> None:
    service.answer = invalid
    order = ordered(shop)

    requeue(shop, order)
    assert shop.status(order) == "on_hold"
    service.answer = valid
    requeue(shop, order)

    assert shop.status(order) == "confirmed"
    assert told(shop, order)["vat_check"]["valid"] is True


def test_what_vies_confirmed_is_not_asked_again_when_the_order_comes_back(
    mill: MakeMill, service: Service
) -> None:
    policy = Policy(vat_check="vies", hold_over={"EUR": 1})
    shop = mill(policy=policy, rules=RULES, vat_ids=Vies(service.url, limit=20.0)).stocked()
    order = ordered(shop)
    assert shop.row(order).reason == "amount_over_limit"
    service.answer = error("MS_UNAVAILABLE")

    another = mill(policy=policy, rules=None, vat_ids=Vies(service.url, limit=20.0))
    requeue(another, order)

    assert another.status(order) == "confirmed"
    assert told(another, order)["quote"]["tax"] == 0
    assert len(service.asked) == 1


# --- Only where it matters ------------------------------------------------------------------------


@pytest.mark.parametrize(
    "changes",
    [
        {"customer": {"email": "anna@example.com"}},
        {"ship_to": {"country": "DE"}},
        {"customer": {"vat_id": "DE136695976"}},
    ],
    ids=["no id", "goods that stay", "an id of home"],
)
def test_an_order_whose_tax_does_not_depend_on_it_asks_nobody(
    shop: Mill, service: Service, changes: dict[str, Any]
) -> None:
    order = ordered(shop, **changes)

    assert (shop.status(order), service.asked) == ("confirmed", [])
    assert told(shop, order)["vat_check"] is None


def test_a_source_that_believes_forms_asks_nobody(mill: MakeMill, service: Service) -> None:
    shop = mill(rules=RULES, vat_ids=Vies(service.url)).stocked()

    order = ordered(shop)

    assert (shop.status(order), service.asked) == ("confirmed", [])
    assert told(shop, order)["quote"]["tax"] == 0


@pytest.mark.parametrize(("vat_id", "most"), [(None, 0), (FRENCH, 1)])
def test_a_batch_without_such_an_order_has_no_savepoint(
    mill: MakeMill, vies: Vies, vat_id: str | None, most: int
) -> None:
    policy = Policy(vat_check="vies")
    serves = ["validate", "price"]
    shop = mill(policy=policy, rules=RULES, vat_ids=vies, serves=serves).stocked()
    customer = {"email": "b@example.com", **({"vat_id": vat_id} if vat_id else {})}
    orders = [shop.accept(), shop.accept(**{**BUSINESS, "customer": customer})]
    savepoints: list[str] = []
    event.listen(shop.database.engine, "savepoint", lambda _, name: savepoints.append(str(name)))

    shop.engine.work("validate")

    assert [shop.status(order) for order in orders] == ["priced", "priced"]
    assert len(savepoints) == most


def test_orders_of_one_id_ask_once_a_day(shop: Mill, service: Service) -> None:
    orders = [shop.accept(**BUSINESS) for _ in range(5)]
    shop.turn()
    orders.append(ordered(shop))

    assert {shop.status(order) for order in orders} == {"confirmed"}
    assert len(service.asked) == 1


def test_in_a_batch_each_order_has_its_own_end(shop: Mill, service: Service) -> None:
    italian = {"email": "a@example.com", "vat_id": "IT00743110157"}
    service.answer = lambda asked: (invalid if asked["countryCode"] == "IT" else valid)(asked)
    orders = [
        shop.accept(**BUSINESS),
        shop.accept(**{**BUSINESS, "customer": italian}),
        shop.accept(**{**BUSINESS, "customer": {"email": "b@example.com"}}),
    ]

    shop.turn()

    assert [shop.status(order) for order in orders] == ["confirmed", "on_hold", "confirmed"]
    assert [told(shop, order)["total"] for order in orders] == [1000, None, 1200]


# --- Evidence -------------------------------------------------------------------------------------


def test_the_evidence_survives_the_archive_and_upstream_is_told_of_it(shop: Mill) -> None:
    order = ordered(shop)
    kept = told(shop, order)["vat_check"]
    shop.accept()  # the newest is never archived
    with shop.database.transaction() as tx:
        assert archive.move(tx, [order]) == 1

    with shop.database.snapshot() as tx:
        assert views.summary(tx, order)["vat_check"] == views.one(tx, order)["vat_check"] == kept
    with shop.database.transaction() as tx:
        archive.restore(tx, [order], "ada")

    assert told(shop, order)["vat_check"] == kept
    assert (kept["vat_id"], kept["consultation_number"]) == (FRENCH, "WAPIAAAAX3lU8bHe")


@pytest.mark.parametrize("is_archived", [False, True], ids=["live", "archived"])
def test_erasure_leaves_that_it_was_valid_and_not_whose_it_was(
    shop: Mill, is_archived: bool
) -> None:
    order = ordered(shop)
    if is_archived:
        shop.accept()
        with shop.database.transaction() as tx:
            archive.move(tx, [order])

    with shop.database.transaction() as tx:
        erasure.erase(tx, [order], "ada")

    found = told(shop, order)
    assert (found["vat_check"]["valid"], found["vat_check"]["said"]) == (True, "VALID")
    assert found["vat_check"]["vat_id"] is found["vat_check"]["consultation_number"] is None
    assert FRENCH not in json.dumps(found, default=str)


def test_neither_timeline_nor_log_has_the_id(
    shop: Mill, service: Service, caplog: pytest.LogCaptureFixture
) -> None:
    service.answer = saying(vatNumber="FR40303265045")
    order = ordered(shop)

    timeline = json.dumps(told(shop, order)["events"], default=str)
    assert "40303265045" not in timeline
    assert "40303265045" not in caplog.text
