"""Orders come in once each, however often and by however many they are sent."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import event

from pipeline.intake.accept import DISPATCH_SIZE, Intake, Receipt, Verdict
from pipeline.order import Lane, customer_key
from pipeline.source import Policy, Source
from pipeline.storage import sources, views
from pipeline.storage.database import Database
from pipeline.storage.selection import Selection
from tests.support import Mill, an_order

AS_SOLD = Policy(price_policy="as_sold")
MakeMill = Callable[..., Mill]


def verdicts(receipts: list[Receipt]) -> list[str]:
    return [str(receipt.verdict) for receipt in receipts]


@contextmanager
def commits_counted(database: Database) -> Iterator[Counter[str]]:
    counted = Counter[str]()

    def count(_: Any) -> None:
        counted["commits"] += 1

    event.listen(database.engine, "commit", count)
    yield counted
    event.remove(database.engine, "commit", count)


def all_at_once(callers: int, act: Callable[[int], Receipt]) -> list[Receipt]:
    """`act(0)`, `act(1)`, … on as many threads, let go together."""
    gate = threading.Barrier(callers)

    def wait_and_act(n: int) -> Receipt:
        gate.wait(30)
        return act(n)

    with ThreadPoolExecutor(callers) as threads:
        return list(threads.map(wait_and_act, range(callers)))


def another_source(shop: Mill, name: str, policy: Policy) -> Source:
    with shop.database.transaction() as tx:
        sources.put(tx, name, policy)
        return sources.by_name(tx, name)


# --- One order after another ----------------------------------------------------------------------


def test_an_accepted_order_is_there_due_and_announced(mill: MakeMill) -> None:
    shop = mill()

    receipt = shop.send(an_order())

    assert receipt.verdict is Verdict.ACCEPTED
    assert shop.status(receipt.order_id) == "received"
    assert shop.timeline(receipt.order_id) == ["received"]
    [(dispatch, order_ids)] = shop.query("SELECT id, order_ids FROM dispatches")
    assert order_ids == f"[{receipt.order_id}]"
    assert shop.announced == [("validate", dispatch)]


def test_the_same_order_again_is_the_same_order(mill: MakeMill) -> None:
    shop = mill()
    order = an_order()
    first = shop.send(order)

    again = shop.send(dict(reversed(order.items())))

    assert (again.verdict, again.order_id) == (Verdict.DUPLICATE, first.order_id)
    assert shop.query("SELECT count(*) FROM orders") == [(1,)]
    assert shop.query("SELECT count(*) FROM dispatches") == [(1,)]


def test_another_order_under_the_same_external_id_is_a_conflict(mill: MakeMill) -> None:
    shop = mill()
    first = shop.send(an_order(external_id="web-1001"))

    other = shop.send(an_order(external_id="web-1001", lines=[("TEE-01", 1)]))

    assert (other.verdict, other.order_id) == (Verdict.CONFLICT, first.order_id)
    assert [problem.field for problem in other.problems] == ["external_id"]
    assert shop.query("SELECT count(*) FROM orders") == [(1,)]


def test_two_sources_may_use_the_same_external_id(mill: MakeMill) -> None:
    shop = mill()
    market = another_source(shop, "market", Policy())

    mine = shop.intake.accept(shop.source, an_order(external_id="1001"))
    theirs = shop.intake.accept(market, an_order(external_id="1001"))

    assert verdicts([mine, theirs]) == ["accepted", "accepted"]
    assert mine.order_id != theirs.order_id


def test_a_bad_order_is_rejected_with_its_problems_and_leaves_nothing(mill: MakeMill) -> None:
    shop = mill()

    receipt = shop.send(an_order(external_id="web-1001", currency="EURO"))

    assert (receipt.verdict, receipt.external_id) == (Verdict.REJECTED, "web-1001")
    assert [problem.field for problem in receipt.problems] == ["currency"]
    assert shop.query("SELECT count(*) FROM orders") == [(0,)]
    assert shop.announced == []


def test_prices_are_refused_of_a_source_that_sells_at_the_catalogue_s(mill: MakeMill) -> None:
    shop = mill(policy=Policy(price_policy="catalogue"))
    lines = [
        {"sku": "MUG-01", "quantity": 1},
        {"sku": "TEE-01", "quantity": 1, "unit_price": "9.90"},
    ]

    receipt = shop.send(an_order() | {"lines": lines})

    assert receipt.verdict is Verdict.REJECTED
    [problem] = receipt.problems
    assert (problem.field, problem.value) == ("lines.1.unit_price", '"9.90"')
    assert "price_policy" in problem.expected
    assert shop.query("SELECT count(*) FROM orders") == [(0,)]


def test_prices_are_welcome_of_a_source_that_states_them(mill: MakeMill) -> None:
    shop = mill(policy=AS_SOLD)
    lines = [{"sku": "MUG-01", "quantity": 1, "unit_price": "9.90"}]

    assert shop.send(an_order() | {"lines": lines}).verdict is Verdict.ACCEPTED


def in_days(days: float) -> str:
    return (datetime.now(UTC) + timedelta(days=days)).isoformat()


@pytest.mark.parametrize(
    ("days", "price_policy", "expected"),
    [
        (-29, "catalogue", None),
        (-31, "catalogue", "a time within the last 30 days, shop's placed_within"),
        (-9_000, "as_sold", None),
        (1 / 1440, "catalogue", None),  # clocks differ
        (1 / 24, "catalogue", "a time that is not in the future"),
        (1 / 24, "as_sold", "a time that is not in the future"),
    ],
)
def test_an_order_was_placed_and_not_too_long_ago(
    mill: MakeMill, days: float, price_policy: Any, expected: str | None
) -> None:
    shop = mill(policy=Policy(price_policy=price_policy, missing_price="catalogue"))

    receipt = shop.send(an_order(placed_at=in_days(days)))

    assert [(p.field, p.expected) for p in receipt.problems] == (
        [("placed_at", expected)] if expected else []
    )
    assert shop.query("SELECT count(*) FROM orders") == [(0 if expected else 1,)]


def test_how_far_back_is_its_source_s_policy(mill: MakeMill) -> None:
    shop = mill(policy=Policy(placed_within=None))

    assert shop.send(an_order(placed_at="1999-12-31T23:59:59Z")).verdict is Verdict.ACCEPTED


def test_an_order_stays_a_duplicate_however_late_it_comes_again(mill: MakeMill) -> None:
    shop = mill(policy=Policy(placed_within=None))
    order = an_order(placed_at=in_days(-40))
    first = shop.send(order)
    impatient = another_source(shop, "shop", Policy(placed_within=7))

    again, other, new = shop.intake.accept_all(
        impatient, [order, {**order, "total": "1.00"}, {**order, "external_id": "web-other"}]
    )

    assert (again.verdict, again.order_id) == (Verdict.DUPLICATE, first.order_id)
    assert (other.verdict, new.verdict) == (Verdict.CONFLICT, Verdict.REJECTED)


def test_an_order_as_sold_is_refused_that_does_not_say_at_what_price(mill: MakeMill) -> None:
    shop = mill(policy=AS_SOLD)
    lines = [{"sku": "MUG-01", "quantity": 1, "unit_price": "9.90"}, {"sku": "CAP", "quantity": 1}]

    receipt = shop.send(an_order() | {"lines": lines})

    assert receipt.verdict is Verdict.REJECTED
    [problem] = receipt.problems
    assert (problem.field, problem.value) == ("lines.1.unit_price", "nothing")
    assert "missing_price" in problem.expected
    assert shop.query("SELECT count(*) FROM orders") == [(0,)]


def test_the_policy_may_let_the_catalogue_s_price_stand_in(mill: MakeMill) -> None:
    shop = mill(policy=Policy(price_policy="as_sold", missing_price="catalogue"))

    assert shop.send(an_order()).verdict is Verdict.ACCEPTED


def test_an_order_without_prices_that_was_accepted_before_stays_known(mill: MakeMill) -> None:
    shop = mill(policy=Policy(price_policy="as_sold", missing_price="catalogue"))
    order = an_order()
    accepted = shop.send(order)
    strict = shop.source.model_copy(update={"policy": AS_SOLD})
    changed = order | {"metadata": {"note": "changed"}}

    same, other, new = shop.intake.accept_all(strict, [order, changed, an_order()])

    assert (same.verdict, same.order_id) == (Verdict.DUPLICATE, accepted.order_id)
    assert other.verdict is Verdict.CONFLICT
    assert new.verdict is Verdict.REJECTED


def test_an_order_is_kept_with_who_orders_but_not_by_name(mill: MakeMill) -> None:
    shop = mill()
    known = {"email": "Ada@Example.com"}

    for customer in (known, {"email": "ada@example.com"}, {"id": "17"}, {"name": "Ada"}):
        shop.accept(customer=customer)

    one, same, other, nobody = (
        r.customer for r in shop.query("SELECT customer FROM order_documents ORDER BY order_id")
    )
    assert one == same == customer_key("shop", known)
    assert other not in (one, None)
    assert nobody is None


def test_one_known_by_an_id_is_found_by_the_address_too(mill: MakeMill) -> None:
    shop = mill()
    ada = "ada@example.com"

    mine = [shop.accept(customer={"id": "17", "email": "Ada@Example.com"})]
    shop.accept(customer={"id": "18", "email": "bob@example.com"})
    mine.append(shop.accept(customer={"email": ada}))
    shop.accept(customer={"id": ada})

    with shop.database.snapshot() as tx:
        found = [row["id"] for row in views.page(tx, Selection(email="ADA@example.com"))]
    assert found == mine[::-1]


def test_an_order_that_could_not_be_announced_is_accepted_all_the_same(mill: MakeMill) -> None:
    shop = mill().stocked()
    shop.engine.announcer = None  # whatever is asked of it fails

    order = shop.accept()
    shop.turn()

    assert shop.status(order) == "confirmed"


# --- Many in one commit ---------------------------------------------------------------------------


def test_a_batch_has_a_verdict_for_each_order_in_its_place(mill: MakeMill) -> None:
    shop = mill()
    known = an_order()
    shop.send(known)
    twin = an_order()

    receipts = shop.intake.accept_all(
        shop.source,
        [
            an_order(),
            an_order(currency="EURO"),
            known,
            twin,
            twin,
            {**twin, "currency": "USD"},
            "nonsense",
            an_order(),
        ],
    )

    assert verdicts(receipts) == [
        "accepted",
        "rejected",
        "duplicate",
        "accepted",
        "duplicate",
        "conflict",
        "rejected",
        "accepted",
    ]
    assert len({receipts[i].order_id for i in (3, 4, 5)}) == 1
    assert shop.query("SELECT count(*) FROM orders") == [(4,)]


def test_a_batch_is_taken_in_with_one_commit_and_in_dispatches_the_engine_can_absorb(
    mill: MakeMill,
) -> None:
    shop = mill()
    batch = [an_order() for _ in range(DISPATCH_SIZE + 1)]

    with commits_counted(shop.database) as counted:
        receipts = shop.intake.accept_all(shop.source, batch)

    assert verdicts(receipts) == ["accepted"] * len(batch)
    assert counted["commits"] == 1
    assert shop.query("SELECT size FROM dispatches ORDER BY id") == [(DISPATCH_SIZE,), (1,)]


def test_nothing_sent_is_nothing_done(mill: MakeMill) -> None:
    assert mill().intake.accept_all(Source(id=1, name="shop", policy=Policy()), []) == []


# --- Lanes ----------------------------------------------------------------------------------------


def test_the_orders_of_a_bulk_source_go_to_the_bulk_lane(mill: MakeMill) -> None:
    shop = mill(policy=Policy(lane="bulk"))

    shop.accept()

    assert shop.query("SELECT lane FROM orders") == [(Lane.BULK.rank,)]
    assert shop.query("SELECT lane FROM dispatches") == [(Lane.BULK.rank,)]


def test_one_shopper_overtakes_an_import(mill: MakeMill) -> None:
    shop = mill(serves=[]).stocked()
    imports = another_source(shop, "imports", Policy(lane="bulk"))
    bulk = shop.intake.accept_all(imports, [an_order() for _ in range(DISPATCH_SIZE)])
    shopper = shop.accept()

    claimed = shop.engine.work("validate")

    assert claimed == 1
    assert shop.status(shopper) == "validated"
    assert shop.status(bulk[0].order_id) == "received"


# --- Many at once ---------------------------------------------------------------------------------


def test_64_who_send_the_same_order_at_once_are_told_of_one_order(mill: MakeMill) -> None:
    shop = mill()
    order = an_order()

    receipts = all_at_once(64, lambda _: shop.intake.accept(shop.source, order))

    assert Counter(verdicts(receipts)) == {"accepted": 1, "duplicate": 63}
    assert len({receipt.order_id for receipt in receipts}) == 1
    assert shop.query("SELECT count(*) FROM orders") == [(1,)]


def test_8_processes_that_are_sent_the_same_order_at_once_take_in_one(mill: MakeMill) -> None:
    shop = mill()
    order = an_order()
    doors = [Intake(shop.database, lambda _: None) for _ in range(8)]

    receipts = all_at_once(8, lambda n: doors[n].accept(shop.source, order))

    assert Counter(verdicts(receipts)) == {"accepted": 1, "duplicate": 7}
    assert len({receipt.order_id for receipt in receipts}) == 1


def test_200_who_send_at_once_share_commits_and_all_their_orders_are_durable(
    mill: MakeMill,
) -> None:
    shop = mill()
    orders = [an_order() for _ in range(200)]

    with commits_counted(shop.database) as counted:
        receipts = all_at_once(200, lambda n: shop.intake.accept(shop.source, orders[n]))

    assert Counter(verdicts(receipts)) == {"accepted": 200}
    assert [r.external_id for r in receipts] == [order["external_id"] for order in orders]
    assert counted["commits"] < 100
    assert shop.query("SELECT count(*) FROM orders") == [(200,)]
    assert shop.query("SELECT sum(size) FROM dispatches") == [(200,)]


def test_more_than_one_commit_holds_may_wait(
    mill: MakeMill, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("pipeline.intake.accept.DISPATCH_SIZE", 8)
    shop = mill()
    orders = [an_order() for _ in range(100)]

    receipts = all_at_once(100, lambda n: shop.intake.accept(shop.source, orders[n]))

    assert Counter(verdicts(receipts)) == {"accepted": 100}
    assert shop.query("SELECT max(size) FROM dispatches") == [(8,)]


def test_each_who_shares_a_commit_is_told_of_his_own_order(mill: MakeMill) -> None:
    shop = mill()
    orders = [an_order(currency="EURO") if n % 3 == 0 else an_order() for n in range(60)]

    receipts = all_at_once(60, lambda n: shop.intake.accept(shop.source, orders[n]))

    assert verdicts(receipts) == ["rejected" if n % 3 == 0 else "accepted" for n in range(60)]
    assert [r.external_id for r in receipts] == [order["external_id"] for order in orders]


def test_when_the_database_is_away_whoever_waits_is_told_so_and_the_next_are_served(
    mill: MakeMill,
) -> None:
    shop = mill()
    away = threading.Event()

    def refuse(_: Any) -> None:
        if away.is_set():
            raise ConnectionError("the database is away")

    event.listen(shop.database.engine, "begin", refuse)
    away.set()
    with pytest.raises(ConnectionError):
        shop.intake.accept(shop.source, an_order())
    away.clear()

    assert shop.intake.accept(shop.source, an_order()).verdict is Verdict.ACCEPTED


def test_two_batches_with_the_same_orders_in_opposite_order_do_not_deadlock(
    mill: MakeMill,
) -> None:
    shop = mill()

    for _ in range(5):
        there = [an_order() for _ in range(300)]
        back = there[::-1]
        gate = threading.Barrier(2)

        def send(batch: list[dict[str, Any]], gate: threading.Barrier = gate) -> list[Receipt]:
            gate.wait(30)
            return shop.intake.accept_all(shop.source, batch)

        with ThreadPoolExecutor(2) as threads:
            one, other = threads.map(send, [there, back])

        assert Counter(verdicts(one + other)) == {"accepted": 300, "duplicate": 300}
        assert [r.order_id for r in one] == [r.order_id for r in reversed(other)]
