"""What a person may do to an order: cancel it wherever it is, put it back to work."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import pytest

from pipeline import operations
from pipeline.chain import CHAINS
from pipeline.errors import NotAllowedNow, UnknownOrder
from pipeline.payments.gateway import Answer, Call, Declined, Kind, Unavailable, Unknown
from pipeline.payments.sandbox import SandboxGateway
from pipeline.source import Policy
from tests.support import MUG, Mill, an_order

MakeMill = Callable[..., Mill]

in_both_chains = pytest.mark.parametrize("chain", CHAINS)


class Gateway(SandboxGateway):
    """A sandbox that refuses what it is told to, and says when it is asked."""

    def __init__(self) -> None:
        super().__init__(None)
        self.refuses: dict[Kind, Answer] = {}
        self.before: Callable[[Call], object] = lambda _: None
        self.asked: list[Call] = []

    def perform(self, call: Call) -> Answer:
        self.asked.append(call)
        self.before(call)
        return self.refuses.get(call.kind) or super().perform(call)


def cancel(shop: Mill, order: int, actor: str = "ada") -> list[tuple[str, int]]:
    with shop.database.transaction() as tx:
        announcements = operations.cancel(tx, order, actor)
    shop.engine.announce(announcements)
    return announcements


def requeue(shop: Mill, *orders: int) -> None:
    with shop.database.transaction() as tx:
        announcements = operations.requeue(tx, orders, "ada")
    shop.engine.announce(announcements)


def work_through(shop: Mill, chain: str, steps: int) -> None:
    """The first so many stages of the chain, one at a time (the mill must serve none)."""
    for link in CHAINS[chain].links[:steps]:
        assert shop.engine.work(link.stage) == 1


def money_held(shop: Mill) -> int:
    """What the gateway's own book says that we have, or have reserved, of one customer's money."""
    booked = Counter[str]()
    for entry in shop.gateway.book():
        booked[entry.kind] += entry.amount
    assert booked["capture"] <= booked["authorize"]
    authorized = 0 if booked["capture"] or booked["void"] else booked["authorize"]
    return authorized + booked["capture"] - booked["refund"]


def units_held(shop: Mill) -> int:
    [(levels,)] = shop.query("SELECT sum(reserved) FROM stock_levels")
    [(lines,)] = shop.query("SELECT coalesce(sum(quantity), 0) FROM reservations")
    assert levels == lines
    return int(levels)


def assert_cancelled_with_nothing_held(shop: Mill, order: int) -> None:
    assert shop.status(order) == "cancelled"
    assert (money_held(shop), units_held(shop)) == (0, 0)
    assert shop.query("SELECT * FROM dispatches") == []


# --- Cancel, at every point -----------------------------------------------------------------------


@in_both_chains
@pytest.mark.parametrize("steps", range(6))
def test_an_order_cancelled_after_any_number_of_steps_gets_all_back(
    mill: MakeMill, chain: str, steps: int
) -> None:
    shop = mill(policy=Policy(chain=chain), serves=[]).stocked()
    order = shop.accept()
    work_through(shop, chain, steps)

    cancel(shop, order)
    shop.turn()

    assert_cancelled_with_nothing_held(shop, order)
    assert shop.row(order).reason == "cancelled"


@in_both_chains
@pytest.mark.parametrize("steps", range(6))
def test_cancelled_twice_is_cancelled_once(mill: MakeMill, chain: str, steps: int) -> None:
    shop = mill(policy=Policy(chain=chain), serves=[]).stocked()
    order = shop.accept()
    work_through(shop, chain, steps)

    cancel(shop, order, "ada")
    again = cancel(shop, order, "bob") if shop.status(order) != "cancelled" else []
    shop.turn()

    assert again == []
    assert_cancelled_with_nothing_held(shop, order)
    assert shop.timeline(order).count("cancel_requested") == 1
    assert shop.timeline(order).count("cancelled") == 1
    assert len([e for e in shop.gateway.book() if e.kind in ("refund", "void")]) <= 1


@in_both_chains
def test_nothing_more_is_done_for_an_order_whose_cancellation_was_asked_for(
    mill: MakeMill, chain: str
) -> None:
    gateway = Gateway()
    shop = mill(gateway=gateway, policy=Policy(chain=chain), serves=[]).stocked()
    order = shop.accept()
    work_through(shop, chain, [x.stage for x in CHAINS[chain].links].index("pay"))

    cancel(shop, order)
    shop.turn()

    assert_cancelled_with_nothing_held(shop, order)
    assert gateway.asked == []


@in_both_chains
def test_the_timeline_says_who_asked(mill: MakeMill, chain: str) -> None:
    shop = mill(policy=Policy(chain=chain)).stocked()
    order = shop.accept()
    shop.turn()

    cancel(shop, order, "ada")
    shop.turn()

    told = shop.query("SELECT kind, actor FROM events ORDER BY seq")
    assert ("cancel_requested", "ada") in [tuple(row) for row in told]
    assert [kind for kind, _ in told][-3:] == ["cancelled", "undone", "undone"]


def test_a_rejected_order_can_not_be_cancelled(mill: MakeMill) -> None:
    shop = mill().stocked()
    order = shop.accept(method="pm_card_declined")
    shop.turn()
    before = shop.row(order)

    with pytest.raises(NotAllowedNow, match=f"order {order} is rejected"):
        cancel(shop, order)

    assert shop.row(order) == before


def test_cancelling_a_cancelled_order_changes_nothing(mill: MakeMill) -> None:
    shop = mill().stocked()
    order = shop.accept()
    shop.turn()
    cancel(shop, order)
    shop.turn()
    before = shop.row(order)

    cancel(shop, order)

    assert (before.status, shop.row(order)) == ("cancelled", before)


def test_an_order_that_does_not_exist_can_not_be_cancelled(mill: MakeMill) -> None:
    with pytest.raises(UnknownOrder, match="4711"):
        cancel(mill(), 4711)


def test_one_of_a_batch_is_cancelled_and_the_others_go_on(mill: MakeMill) -> None:
    shop = mill(serves=[]).stocked()
    batch = [an_order() for _ in range(3)]
    first, second, third = (r.order_id for r in shop.intake.accept_all(shop.source, batch))
    shop.engine.work("validate")

    cancel(shop, second)
    shop.turn()

    assert [shop.status(o) for o in (first, second, third)] == [
        "confirmed",
        "cancelled",
        "confirmed",
    ]


def test_a_waiting_order_is_cancelled_at_once_and_the_others_of_its_dispatch_wait_on(
    mill: MakeMill,
) -> None:
    gateway = Gateway()
    gateway.refuses["authorize"] = Unavailable("the gateway is away", retry_after=200)
    shop = mill(gateway=gateway).stocked()
    batch = [an_order() for _ in range(3)]
    first, second, third = (r.order_id for r in shop.intake.accept_all(shop.source, batch))
    shop.turn(impatient=False)
    assert shop.engine.work("pay") == 0

    [(step, _)] = cancel(shop, second)
    shop.turn(impatient=False)

    assert step == "pay"
    assert [shop.status(o) for o in (first, second, third)] == ["priced", "cancelled", "priced"]
    assert shop.query("SELECT order_ids FROM dispatches") == [(f"[{first},{third}]",)]


def test_a_backordered_order_is_cancelled_at_once_and_refunded(mill: MakeMill) -> None:
    shop = mill().stocked(units=1, backorder=True)
    order = shop.accept()
    shop.turn()
    assert shop.status(order) == "backordered"

    cancel(shop, order)
    shop.turn(impatient=False)

    assert_cancelled_with_nothing_held(shop, order)


@pytest.mark.parametrize(
    "policy",
    [Policy(hold_countries=frozenset({"DE"})), Policy(hold_over={"EUR": 1})],
    ids=["before anything was done", "with a price"],
)
def test_an_order_on_hold_is_cancelled(mill: MakeMill, policy: Policy) -> None:
    shop = mill(policy=policy).stocked()
    order = shop.accept()
    shop.turn()
    assert shop.status(order) == "on_hold"

    cancel(shop, order)
    shop.turn()

    assert_cancelled_with_nothing_held(shop, order)


def test_an_order_held_when_it_may_have_been_charged_is_cancelled_and_refunded(
    mill: MakeMill,
) -> None:
    gateway = Gateway()
    shop = mill(gateway=gateway).stocked()

    def charge_and_crash(call: Call) -> None:
        if call.kind == "capture":
            SandboxGateway.perform(gateway, call)
            raise RuntimeError("a defect")

    gateway.before = charge_and_crash
    order = shop.accept()
    shop.turn()
    assert (shop.status(order), money_held(shop)) == ("on_hold", 2000)

    cancel(shop, order)
    shop.turn()

    assert_cancelled_with_nothing_held(shop, order)


# --- Cancel, while somebody works on it -----------------------------------------------------------


@in_both_chains
@pytest.mark.parametrize("kind", ["authorize", "capture"])
def test_an_order_cancelled_while_it_is_being_paid_is_refunded(
    mill: MakeMill, chain: str, kind: Kind
) -> None:
    gateway = Gateway()
    shop = mill(gateway=gateway, policy=Policy(chain=chain)).stocked()
    order = shop.accept()
    gateway.before = lambda call: call.kind == kind and cancel(shop, order)

    shop.turn()

    assert_cancelled_with_nothing_held(shop, order)


@pytest.mark.parametrize(
    "answer", [Unknown("time-out"), Unavailable("away", retry_after=200)], ids=["unknown", "away"]
)
def test_an_order_cancelled_while_the_gateway_fails_does_not_wait_for_it(
    mill: MakeMill, answer: Answer
) -> None:
    gateway = Gateway()
    gateway.refuses["authorize"] = answer
    shop = mill(gateway=gateway).stocked()
    order = shop.accept()
    gateway.before = lambda _: cancel(shop, order)

    shop.turn(impatient=False)

    assert_cancelled_with_nothing_held(shop, order)


def test_an_order_cancelled_while_it_is_being_declined_holds_nothing(mill: MakeMill) -> None:
    gateway = Gateway()
    gateway.refuses["capture"] = Declined("card_declined")
    shop = mill(gateway=gateway).stocked()
    order = shop.accept()
    gateway.before = lambda call: call.kind == "capture" and cancel(shop, order)

    shop.turn()

    assert_cancelled_with_nothing_held(shop, order)


def test_an_order_cancelled_while_a_defect_shows_on_it_is_cancelled_not_held(
    mill: MakeMill,
) -> None:
    gateway = Gateway()
    shop = mill(gateway=gateway).stocked()
    order = shop.accept()

    def cancel_and_crash(_: Call) -> None:
        cancel(shop, order)
        raise RuntimeError("a defect")

    gateway.before = cancel_and_crash
    shop.turn()

    assert_cancelled_with_nothing_held(shop, order)


def test_an_order_cancelled_while_it_is_undone_is_undone_once(mill: MakeMill) -> None:
    gateway = Gateway()
    shop = mill(gateway=gateway, serves=["validate"]).stocked(units=2)
    orders = [shop.accept(), shop.accept()]  # both pass the early look
    gateway.before = lambda call: (
        call.kind == "refund"
        and [cancel(shop, o) for o in orders if shop.status(o) == "cancelling"]
    )

    shop.turn()

    assert sorted(map(shop.status, orders)) == ["cancelled", "confirmed"]
    assert [e.kind for e in gateway.book()].count("refund") == 1


# --- Undoing that fails ---------------------------------------------------------------------------


def whose_refund_is_refused(mill: MakeMill, chain: str) -> tuple[Mill, Gateway, int]:
    """An order that was cancelled, and can't be undone."""
    gateway = Gateway()
    shop = mill(gateway=gateway, policy=Policy(chain=chain)).stocked()
    order = shop.accept()
    shop.turn()
    gateway.refuses["refund"] = Declined("charge_disputed")
    cancel(shop, order)
    shop.turn()
    return shop, gateway, order


@in_both_chains
def test_an_order_whose_refund_is_refused_is_held_and_never_called_cancelled(
    mill: MakeMill, chain: str
) -> None:
    shop, _, order = whose_refund_is_refused(mill, chain)

    assert (shop.status(order), shop.row(order).reason) == ("on_hold", "undo_failed")
    assert money_held(shop) == 2000


@in_both_chains
def test_requeued_with_a_gateway_that_works_it_is_refunded_and_cancelled_and_says_why(
    mill: MakeMill, chain: str
) -> None:
    shop, gateway, order = whose_refund_is_refused(mill, chain)
    gateway.refuses.clear()

    requeue(shop, order)
    assert shop.status(order) == "cancelling"
    shop.turn()

    assert_cancelled_with_nothing_held(shop, order)
    assert shop.row(order).reason == "cancelled"


@in_both_chains
def test_a_failed_order_says_why_it_failed_even_if_its_undo_was_refused_at_first(
    mill: MakeMill, chain: str
) -> None:
    gateway = Gateway()
    gateway.refuses |= {"capture": Declined("card_declined"), "void": Declined("not_now")}
    shop = mill(gateway=gateway, policy=Policy(chain=chain)).stocked()
    order = shop.accept()
    shop.turn()
    assert (shop.status(order), shop.row(order).reason) == ("on_hold", "undo_failed")
    del gateway.refuses["void"]

    requeue(shop, order)
    assert (shop.status(order), shop.row(order).reason) == ("cancelling", "declined")
    shop.turn()

    assert_cancelled_with_nothing_held(shop, order)
    assert shop.row(order).reason == "declined"


def test_a_refund_whose_answer_was_lost_is_not_made_twice(mill: MakeMill) -> None:
    gateway = Gateway()
    shop = mill(gateway=gateway).stocked()
    order = shop.accept()
    shop.turn()
    lost: list[Call] = []

    def refund_and_lose_the_answer(call: Call) -> None:
        if call.kind == "refund" and not lost:
            lost.append(call)
            SandboxGateway.perform(gateway, call)
            gateway.refuses["refund"] = Unknown("time-out")

    gateway.before = refund_and_lose_the_answer
    cancel(shop, order)
    shop.turn()

    assert_cancelled_with_nothing_held(shop, order)
    assert [e.kind for e in gateway.book()].count("refund") == 1
    assert {call.key for call in gateway.asked if call.kind == "refund"} == {lost[0].key}


def test_a_void_whose_answer_was_lost_is_asked_for_again_under_the_same_key(
    mill: MakeMill,
) -> None:
    gateway = Gateway()
    gateway.refuses |= {"capture": Declined("card_declined"), "void": Unknown("time-out")}
    shop = mill(gateway=gateway).stocked()
    order = shop.accept()
    shop.turn(impatient=False)
    assert shop.status(order) == "cancelling"
    del gateway.refuses["void"]

    shop.turn()

    assert_cancelled_with_nothing_held(shop, order)
    assert shop.row(order).reason == "declined"
    assert len({call.key for call in gateway.asked if call.kind == "void"}) == 1


def test_a_void_that_is_refused_holds_the_order_too(mill: MakeMill) -> None:
    gateway = Gateway()
    gateway.refuses |= {"capture": Declined("card_declined"), "void": Declined("not_now")}
    shop = mill(gateway=gateway).stocked()

    order = shop.accept()
    shop.turn()

    assert (shop.status(order), shop.row(order).reason) == ("on_hold", "undo_failed")


# --- Requeue --------------------------------------------------------------------------------------


def test_an_order_on_hold_goes_on_where_it_was_and_hold_rules_are_over_for_it(
    mill: MakeMill,
) -> None:
    shop = mill(policy=Policy(hold_over={"EUR": 1})).stocked()
    order = shop.accept()
    shop.turn()
    assert shop.status(order) == "on_hold"

    requeue(shop, order)
    assert shop.status(order) == "validated"
    shop.turn()

    assert shop.status(order) == "confirmed"
    assert shop.timeline(order)[1:4] == ["advanced", "held", "requeued"]
    assert shop.timeline(order).count("advanced") == 5


@in_both_chains
def test_an_order_held_by_a_defect_goes_on_when_that_is_mended(mill: MakeMill, chain: str) -> None:
    gateway = Gateway()
    shop = mill(gateway=gateway, policy=Policy(chain=chain)).stocked()

    def crash(_: Call) -> None:
        raise RuntimeError("a defect")

    gateway.before = crash
    order = shop.accept()
    shop.turn()
    assert (shop.status(order), shop.row(order).reason) == ("on_hold", "defect")
    gateway.before = lambda _: None

    requeue(shop, order)
    shop.turn()

    assert (shop.status(order), money_held(shop), units_held(shop)) == ("confirmed", 2000, 2)


def test_many_are_requeued_at_once(mill: MakeMill) -> None:
    shop = mill(policy=Policy(hold_over={"EUR": 1})).stocked()
    batch = [an_order() for _ in range(20)]
    orders = [r.order_id for r in shop.intake.accept_all(shop.source, batch)]
    shop.turn()

    requeue(shop, *orders, *orders)
    shop.turn()

    assert {shop.status(o) for o in orders} == {"confirmed"}


def test_an_order_that_is_not_on_hold_is_not_requeued(mill: MakeMill) -> None:
    shop = mill().stocked()
    order = shop.accept()
    shop.turn()

    with pytest.raises(NotAllowedNow, match=f"order {order} is confirmed"):
        requeue(shop, order)

    assert shop.status(order) == "confirmed"
    assert shop.query("SELECT * FROM dispatches") == []


def test_of_several_all_are_requeued_or_none(mill: MakeMill) -> None:
    shop = mill(policy=Policy(hold_over={"EUR": 1999})).stocked()
    held, fine = shop.accept(), shop.accept(lines=[(MUG, 1)])
    shop.turn()

    with pytest.raises(NotAllowedNow, match=f"order {fine}"):
        requeue(shop, held, fine)

    assert (shop.status(held), shop.status(fine)) == ("on_hold", "confirmed")


def test_requeued_twice_is_refused_the_second_time(mill: MakeMill) -> None:
    shop = mill(policy=Policy(hold_over={"EUR": 1})).stocked()
    order = shop.accept()
    shop.turn()
    requeue(shop, order)

    with pytest.raises(NotAllowedNow):
        requeue(shop, order)

    assert shop.query("SELECT sum(size) FROM dispatches") == [(1,)]
