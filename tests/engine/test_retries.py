"""What failed is tried again, ever later, so often and no more; and what a claim takes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from statistics import mean

import pytest

from pipeline.engine.engine import Limits
from pipeline.engine.record import BACKOFF
from pipeline.payments.gateway import Answer, Call, Declined, Kind, Unavailable, Unknown
from pipeline.payments.sandbox import SandboxGateway
from pipeline.source import Policy, Source
from pipeline.storage import queues, sources
from tests.support import Mill, an_order

MakeMill = Callable[..., Mill]


class Gateway(SandboxGateway):
    """A sandbox that gives these answers to the first calls of a kind, doing nothing."""

    def __init__(self, *answers: Answer, to: Kind = "authorize") -> None:
        super().__init__(None)
        self.answers = list(answers)
        self.to = to
        self.asked: list[Call] = []

    def perform(self, call: Call) -> Answer:
        self.asked.append(call)
        if call.kind == self.to and self.answers:
            return self.answers.pop(0)
        return super().perform(call)


def accept(shop: Mill, n: int, source: Source | None = None) -> list[int]:
    """So many orders, each in a dispatch of its own."""
    receipts = [shop.intake.accept(source or shop.source, an_order()) for _ in range(n)]
    return [receipt.order_id for receipt in receipts if receipt.order_id is not None]


def statuses(shop: Mill, orders: Sequence[int]) -> list[str]:
    return [shop.status(order) for order in orders]


def attempts(shop: Mill, step: str) -> int:
    [(found,)] = shop.query("SELECT attempts FROM dispatches WHERE step = :step", step=step)
    return int(found)


# --- Attempts -------------------------------------------------------------------------------------


def test_an_order_is_held_with_the_reason_after_so_many_attempts(mill: MakeMill) -> None:
    gateway = Gateway(*[Unknown("time-out")] * 99)
    shop = mill(gateway=gateway, limits=Limits(attempts=3)).stocked()

    order = shop.accept()
    shop.turn()

    assert (shop.status(order), shop.row(order).reason) == ("on_hold", "payment_unknown")
    assert shop.timeline(order)[-2:] == ["retried", "held"]  # of two tries, for the same cause
    assert len(gateway.asked) == 3


def test_the_last_attempt_may_still_succeed(mill: MakeMill) -> None:
    gateway = Gateway(Unknown("time-out"), Unknown("time-out"))
    shop = mill(gateway=gateway, limits=Limits(attempts=3)).stocked()

    order = shop.accept()
    shop.turn()

    assert shop.status(order) == "confirmed"
    assert shop.timeline(order).count("retried") == 1
    assert len(gateway.asked) == 4  # two in vain, then it is authorized and captured


@pytest.mark.parametrize("kind", ["authorize", "capture"])
def test_every_attempt_asks_under_the_key_of_the_first(mill: MakeMill, kind: Kind) -> None:
    gateway = Gateway(*[Unknown("time-out")] * 4, to=kind)
    shop = mill(gateway=gateway).stocked()

    order = shop.accept()
    shop.turn()

    assert shop.status(order) == "confirmed"
    assert len([call for call in gateway.asked if call.kind == kind]) == 5
    assert len({call.key for call in gateway.asked if call.kind == kind}) == 1


def test_an_outage_burns_no_attempts(mill: MakeMill) -> None:
    gateway = Gateway(*[Unavailable("connection refused")] * 10)
    shop = mill(gateway=gateway, limits=Limits(attempts=3)).stocked()

    order = shop.accept()
    shop.turn()

    assert shop.status(order) == "confirmed"
    assert shop.timeline(order).count("retried") == 1
    assert len(gateway.asked) == 12


def test_an_outage_waits_as_long_as_the_gateway_asks(mill: MakeMill) -> None:
    shop = mill(gateway=Gateway(Unavailable("429", retry_after=120.0))).stocked()

    shop.accept()
    shop.turn(impatient=False)

    [(detail,)] = shop.query("SELECT detail FROM events WHERE kind = 'retried'")
    assert '"delay": 120.0' in detail


def test_each_stage_counts_its_own_attempts(mill: MakeMill) -> None:
    gateway = Gateway(Unknown("time-out"), Unknown("time-out"))
    shop = mill(gateway=gateway, serves=[]).stocked()
    shop.accept()
    shop.engine.work("validate")
    shop.engine.work("price")

    counted = []
    for _ in range(2):
        shop.make_due()
        shop.engine.work("pay")
        counted.append(attempts(shop, "pay"))
    shop.make_due()
    shop.engine.work("pay")

    assert counted == [1, 2]
    assert attempts(shop, "reserve") == 0


def test_a_decline_is_not_tried_again(mill: MakeMill) -> None:
    gateway = Gateway(Declined("card_declined"))
    shop = mill(gateway=gateway).stocked()

    order = shop.accept()
    shop.turn()

    assert (shop.status(order), len(gateway.asked)) == ("rejected", 1)


def test_a_retry_waits_until_it_is_due(mill: MakeMill) -> None:
    shop = mill(gateway=Gateway(Unavailable("away", retry_after=60.0))).stocked()
    order = shop.accept()
    shop.turn(impatient=False)

    assert shop.engine.work("pay") == 0
    shop.make_due()

    assert shop.engine.work("pay") == 1
    assert shop.status(order) == "confirmed"


# --- Back-off -------------------------------------------------------------------------------------


def draws(attempt: int) -> list[float]:
    return [BACKOFF.after(attempt) for _ in range(200)]


def test_the_back_off_doubles() -> None:
    for attempt in range(1, 10):
        ceiling = BACKOFF.first * 2 ** (attempt - 1)

        assert all(ceiling / 2 <= seconds <= ceiling for seconds in draws(attempt))


def test_the_back_off_is_jittered_so_that_what_failed_together_does_not_come_back_together() -> (
    None
):
    seconds = draws(5)

    assert len(set(seconds)) > 190
    assert mean(seconds) == pytest.approx(12, rel=0.1)


@pytest.mark.parametrize("attempt", [11, 20, 1_000, 10**9])
def test_the_back_off_is_capped(attempt: int) -> None:
    assert all(BACKOFF.longest / 2 <= seconds <= BACKOFF.longest for seconds in draws(attempt))


# --- Pausing --------------------------------------------------------------------------------------


def pause(shop: Mill, step: str) -> None:
    with shop.database.transaction() as tx:
        assert queues.pause(tx, step, "ada")


def resume(shop: Mill, step: str) -> None:
    with shop.database.transaction() as tx:
        assert queues.resume(tx, step)


@pytest.mark.parametrize("step", ["validate", "price", "pay", "reserve", "notify"])
def test_orders_stop_before_a_paused_stage_and_go_on_when_it_is_resumed(
    mill: MakeMill, step: str
) -> None:
    shop = mill().stocked()
    pause(shop, step)

    order = shop.accept()
    shop.turn()
    assert shop.row(order).stage == step
    assert shop.engine.work(step) == 0

    resume(shop, step)
    shop.turn()

    assert shop.status(order) == "confirmed"


def test_a_batch_in_hand_is_not_carried_on_into_a_stage_paused_meanwhile(mill: MakeMill) -> None:
    gateway = Gateway()
    shop = mill(gateway=gateway).stocked()
    order = shop.accept()
    answer = gateway.perform

    def pause_and_answer(call: Call) -> Answer:
        if call.kind == "capture":
            pause(shop, "reserve")
        return answer(call)

    gateway.perform = pause_and_answer  # type: ignore[method-assign]
    shop.turn()

    assert (shop.status(order), shop.row(order).stage) == ("paid", "reserve")
    assert shop.query("SELECT lease FROM dispatches") == [(None,)]


# --- What a claim takes ---------------------------------------------------------------------------


def test_a_claim_takes_all_that_waits_at_once(mill: MakeMill) -> None:
    shop = mill(serves=[]).stocked()
    orders = accept(shop, 5)

    assert shop.engine.work("validate") == 5

    assert statuses(shop, orders) == ["validated"] * 5
    assert shop.query("SELECT step, size FROM dispatches") == [("price", 5)]


def test_a_claim_takes_no_more_than_a_batch_and_wakes_somebody_for_the_rest(
    mill: MakeMill,
) -> None:
    shop = mill(serves=[], limits=Limits(batch=3)).stocked()
    accept(shop, 5)
    shop.announced.clear()

    claimed = [shop.engine.work("validate") for _ in range(3)]

    assert claimed == [3, 2, 0]
    assert [step for step, _ in shop.announced] == ["validate", "price", "price"]


def test_a_dispatch_that_does_not_fit_waits_for_the_next_claim(mill: MakeMill) -> None:
    shop = mill(serves=[], limits=Limits(batch=5)).stocked()
    for size in (3, 3):
        shop.intake.accept_all(shop.source, [an_order() for _ in range(size)])

    assert [shop.engine.work("validate") for _ in range(2)] == [3, 3]


def test_what_waits_longest_goes_first(mill: MakeMill) -> None:
    shop = mill(serves=[], limits=Limits(batch=2)).stocked()
    orders = accept(shop, 5)

    shop.engine.work("validate")

    assert statuses(shop, orders) == ["validated"] * 2 + ["received"] * 3


def test_the_interactive_lane_goes_first_at_every_stage(mill: MakeMill) -> None:
    shop = mill(serves=[], limits=Limits(batch=2)).stocked()
    with shop.database.transaction() as tx:
        sources.put(tx, "imports", Policy(gateway="sandbox", lane="bulk"))
        imports = sources.by_name(tx, "imports")
    bulk = accept(shop, 2, imports)
    shop.engine.work("validate")
    shoppers = accept(shop, 2)
    shop.engine.work("validate")

    shop.engine.work("price")

    assert (statuses(shop, shoppers), statuses(shop, bulk)) == (["priced"] * 2, ["validated"] * 2)


def test_a_batch_that_two_put_off_is_put_off_once(mill: MakeMill) -> None:
    gateway = Gateway(*[Unavailable("away", retry_after=60.0)] * 2)
    shop = mill(gateway=gateway, serves=[]).stocked()
    accept(shop, 1)
    shop.engine.work("validate")
    shop.engine.work("price")
    answer = gateway.perform

    def be_so_slow_that_another_takes_over(call: Call) -> Answer:
        gateway.perform = answer  # type: ignore[method-assign]
        shop.expire_leases()
        assert shop.engine.work("pay") == 1
        return answer(call)

    gateway.perform = be_so_slow_that_another_takes_over  # type: ignore[method-assign]
    shop.engine.work("pay")

    assert shop.query("SELECT step, size FROM dispatches") == [("pay", 1)]
