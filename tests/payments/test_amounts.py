"""What a gateway can't take is known before it is promised: to pricing, to refunds, to captures."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from pipeline import operations
from pipeline.errors import InvalidInput
from pipeline.payments.amounts import from_stripe, step, stripe_step, to_stripe
from pipeline.payments.gateway import Refused
from pipeline.payments.sandbox import SandboxGateway
from pipeline.payments.stripe import StripeGateway
from pipeline.source import Policy
from pipeline.storage import catalogue
from pipeline.storage.catalogue import ProductIn
from tests.payments.faulty_proxy import FaultyProxy
from tests.payments.houses import STRIPE_KEY
from tests.payments.shop import Gateway, MakeMill, booked
from tests.support import MUG, Mill

RULES: dict[str, Any] = {
    "includes_tax": True,
    "promotions": [
        {"id": "p", "name": "15 off", "target": "order", "effect": {"type": "percent", "percent": 15}}
    ],
    "coupons": [{"code": "SAVE15", "promotions": ["p"]}],
}  # fmt: skip


@pytest.mark.parametrize(
    ("currency", "least", "theirs"),
    [
        ("EUR", 1, 1),
        ("JPY", 1, 1),
        ("KWD", 10, 10),
        ("BHD", 10, 10),
        ("JOD", 10, 10),
        ("OMR", 10, 10),
        ("TND", 10, 10),
        ("ISK", 1, 100),
        ("UGX", 1, 100),
        ("MGA", 100, 1),
        ("HUF", 1, 1),
        ("TWD", 1, 1),
    ],
)
def test_stripe_takes_multiples_of_a_step(currency: str, least: int, theirs: int) -> None:
    assert (stripe_step(currency), to_stripe(least, currency)) == (least, theirs)
    assert from_stripe(theirs, currency.lower()) == least
    assert step("sandbox", currency) == step("manual", currency) == 1
    if least > 1:
        with pytest.raises(ValueError, match=f"multiples of {least}"):
            to_stripe(least + 1, currency)


def in_dinars(mill: MakeMill, gateway: Any, price: int, **more: Any) -> Mill:
    policy = Policy(gateway=gateway.name)
    shop = mill(policy=policy, gateway=gateway, rules=RULES, **more).stocked()
    with shop.database.transaction() as tx:
        catalogue.put(tx, [ProductIn(MUG, "Mug", True, False, {"KWD": price})])
    return shop


@pytest.fixture
def stripe(proxy: FaultyProxy) -> StripeGateway:
    return StripeGateway(STRIPE_KEY, base=proxy.url)


def sent(proxy: FaultyProxy, path: str) -> list[str]:
    posts = [s for s in proxy.seen if s.method == "POST" and s.path.endswith(path)]
    return [value for s in posts for name, value in s.params if name.startswith("amount")]


def test_a_discount_of_dinars_is_promised_as_it_can_be_charged(
    mill: MakeMill, stripe: StripeGateway, proxy: FaultyProxy
) -> None:
    """15 % off 1.250 KWD is 1.0625; Stripe takes 1.060 or 1.070."""
    shop = in_dinars(mill, stripe, 1250)
    order = shop.accept(currency="KWD", lines=[(MUG, 1)], coupons=["SAVE15"])

    shop.turn()

    assert shop.status(order) == "confirmed"
    assert shop.query("SELECT net, tax, total FROM quotes") == [(1060, 0, 1060)]
    assert sent(proxy, "/payment_intents") == ["1060"]
    assert sent(proxy, "/capture") == ["1060"]


def test_lines_of_dinars_are_refunded_in_what_can_be_given_back(
    mill: MakeMill, stripe: StripeGateway, proxy: FaultyProxy
) -> None:
    """A third of 10.000 KWD: the parts are payable, and add up to what was paid."""
    shop = in_dinars(mill, stripe, 3333)
    order = shop.accept(currency="KWD", lines=[(MUG, 3)])
    shop.turn()

    for _ in range(3):
        with shop.database.transaction() as tx:
            operations.refund(tx, order, "test", lines={1: 1})
        shop.payment_tasks.run()

    assert sent(proxy, "/refunds") == ["3330", "3330", "3330"]
    assert shop.query("SELECT total FROM quotes") == [(9990,)]


def test_an_amount_that_cant_be_given_back_is_refused_with_the_step(
    mill: MakeMill, stripe: StripeGateway
) -> None:
    shop = in_dinars(mill, stripe, 1250)
    order = shop.accept(currency="KWD", lines=[(MUG, 1)])
    shop.turn()

    said = "stripe takes multiples of 0.010 KWD, 0.333 were asked for"
    with shop.database.transaction() as tx, pytest.raises(InvalidInput, match=said):
        operations.refund(tx, order, "test", amount=333)


def test_an_agreed_price_that_cant_be_charged_waits(mill: MakeMill, stripe: StripeGateway) -> None:
    shop = in_dinars(mill, stripe, 1250)
    policy = Policy(gateway="stripe", price_policy="as_sold")
    source = shop.another_source("market", policy)
    lines = [{"sku": MUG, "quantity": 1, "unit_price": "1.255"}]
    from tests.support import an_order

    document = {**an_order(currency="KWD"), "lines": lines}
    order = shop.intake.accept_all(source, [document])[0].order_id
    assert order is not None

    shop.turn()

    assert (shop.status(order), shop.row(order).reason) == ("on_hold", "price_not_payable")


# --- What a gateway calls invalid -----------------------------------------------------------------


@pytest.mark.parametrize("chain", ["capture_first", "reserve_first"])
@pytest.mark.parametrize("kind", ["authorize", "capture"])
def test_what_the_gateway_calls_invalid_waits_and_is_charged_once_when_requeued(
    mill: MakeMill, kind: Any, chain: Any
) -> None:
    gateway = Gateway()
    shop = mill(gateway=gateway, policy=Policy(chain=chain)).stocked()
    gateway.refuses[kind] = Refused("parameter_invalid")
    order = shop.accept()
    shop.turn()
    held = shop.row(order)

    gateway.refuses.clear()
    with shop.database.transaction() as tx:
        shop.engine.announce(operations.requeue(tx, [order], "test"))
    shop.turn()

    assert (held.status, held.reason) == ("on_hold", "gateway_refused")
    assert shop.status(order) == "confirmed"
    assert [e.kind for e in gateway.book()] == ["authorize", "capture"]


@pytest.mark.parametrize("chain", ["capture_first", "reserve_first"])
def test_a_payment_of_another_amount_under_its_key_is_for_a_person_to_see(
    mill: MakeMill, chain: Any
) -> None:
    """As when a failover has lost the order, and it is sent again with another total."""
    gateway = Gateway()
    shop = mill(gateway=gateway, policy=Policy(chain=chain)).stocked()
    gateway.before = lambda call: SandboxGateway.perform(gateway, replace(call, amount=1))
    order = shop.accept()
    shop.turn()
    held, booked_by_then = shop.row(order), booked(shop)

    gateway.before = lambda _: None
    with shop.database.transaction() as tx:
        shop.engine.announce(operations.requeue(tx, [order], "test"))
    shop.turn()

    assert (held.status, held.reason) == ("on_hold", "payment_key_taken")
    assert booked_by_then == {"authorize": 1}
    assert shop.status(order) == "confirmed"
    assert [e.kind for e in gateway.book()] == ["authorize", "authorize", "capture"]


def test_requeued_before_it_is_mended_it_waits_again(mill: MakeMill) -> None:
    shop = mill().stocked()
    order = shop.accept(method="pm_invalid")
    shop.turn()

    with shop.database.transaction() as tx:
        shop.engine.announce(operations.requeue(tx, [order], "test"))
    shop.turn()

    assert (shop.status(order), shop.row(order).reason) == ("on_hold", "gateway_refused")


@pytest.mark.parametrize("kind", ["authorize", "capture"])
def test_cancelled_while_it_waits_so_nothing_is_kept(mill: MakeMill, kind: Any) -> None:
    gateway = Gateway()
    shop = mill(gateway=gateway).stocked()
    gateway.refuses[kind] = Refused("parameter_invalid")
    order = shop.accept()
    shop.turn()
    gateway.refuses.clear()

    with shop.database.transaction() as tx:
        shop.engine.announce(operations.cancel(tx, order, "test"))
    shop.turn()

    assert shop.status(order) == "cancelled"
    assert {e.kind for e in gateway.book()} <= {"authorize", "void"}
