"""The archive: what is over goes there whole, is seen as before, and comes back for whatever happens."""

from __future__ import annotations

import json
import re
import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import insert, select, text, update

from pipeline import operations, retention
from pipeline.errors import InvalidInput, UnknownOrder
from pipeline.intake.accept import Verdict
from pipeline.payments.reconcile import reconcile
from pipeline.source import Policy
from pipeline.storage import archive, orders
from pipeline.storage.database import Database
from pipeline.storage.tables import (
    archived_orders,
    gateway_events,
    notifications,
    payment_differences,
    payment_operations,
    payment_tasks,
    reservations,
)
from tests.payments.dying import Points, die_at, points_of, without_syncing
from tests.payments.shop import Gateway, MakeMill, act, booked, findings, reference, tell
from tests.payments.shop import events as told
from tests.retention.conftest import Command
from tests.retention.shop import archived, due, live, pass_time, put_away, ship
from tests.support import MUG, POSTER, TEE, Mill, an_order

#: A discount, shipping and a coupon of its own, so that there is something to explain.
PRICING = {
    "shipping": {"methods": {"post": {"name": "Post", "rates": [{"price": {"EUR": "4.90"}}]}}},
    "promotions": [{"id": "ten", "name": "Ten off", "effect": {"type": "percent", "percent": 10}}],
    "coupons": [
        {"code": "TEN", "promotions": ["ten"], "limit": 5, "limit_per_customer": 1},
    ],
}
DEARER = {"coupons": ["TEN"], "shipping_method": "post"}


def a_shop(mill: MakeMill, **options: Any) -> Mill:
    return mill(gateway=Gateway(), rules=PRICING, **options).stocked()


def sold(shop: Mill, **changes: Any) -> int:
    """An order that is confirmed, and whose goods have left."""
    order = shop.accept(**changes)
    shop.turn()
    assert shop.status(order) == "confirmed"
    ship(shop, order)
    return order


def refused(shop: Mill) -> int:
    order = shop.accept(method="pm_card_declined")
    shop.turn()
    assert shop.status(order) == "rejected"
    return order


def called_off(shop: Mill) -> int:
    """One that was paid, cancelled and paid back."""
    order = shop.accept(lines=[(TEE, 1), (POSTER, 2)])
    shop.turn()
    act(shop, operations.cancel, order)
    shop.turn()
    assert shop.status(order) == "cancelled"
    return order


def newest(shop: Mill) -> int:
    """One that comes after all others, and is on its way."""
    return shop.accept()


def long_ago(shop: Mill, order: int) -> int:
    """With a newer one behind it, and all that happened to it long past."""
    newest(shop)
    shop.turn()
    pass_time(shop)
    return order


ENDS: dict[str, Callable[[Mill], int]] = {
    "confirmed": lambda shop: sold(shop, **DEARER),
    "rejected": refused,
    "cancelled": called_off,
}


# --- Seen as before -------------------------------------------------------------------------------


@pytest.mark.parametrize("end", ENDS)
def test_an_archived_order_is_shown_byte_for_byte_as_before(
    mill: MakeMill, command: Command, end: str
) -> None:
    shop = a_shop(mill)
    order = long_ago(shop, ENDS[end](shop))
    before = command("orders", "show", order, "--json")

    assert put_away(shop) == 1

    code, after = command("orders", "show", order, "--json")
    assert (code, archived(shop)) == (0, [order])
    marked = re.sub(r'"archived_at": "[^"]+"', '"archived_at": null', after, count=1)
    assert marked != after
    assert (code, marked) == before


def test_its_pricing_timeline_and_money_are_told_to_people_too(
    mill: MakeMill, command: Command
) -> None:
    shop = a_shop(mill)
    order = long_ago(shop, sold(shop, **DEARER))
    _, before = command("orders", "show", order, "--pricing")
    put_away(shop)

    _, after = command("orders", "show", order, "--pricing")

    assert "In the archive since" in after
    assert "Ten off" in after
    assert [row for row in after.splitlines() if "In the archive" not in row and row] == [
        row for row in before.splitlines() if row
    ]


def test_it_is_found_by_what_its_source_calls_it(mill: MakeMill, command: Command) -> None:
    shop = a_shop(mill)
    order = long_ago(shop, sold(shop, external_id="web-old"))
    put_away(shop)

    _, shown = command("orders", "show", "--external-id", "web-old", "--json")

    assert json.loads(shown)["id"] == order


def test_two_sources_that_use_the_same_external_id_are_told_apart(
    mill: MakeMill, command: Command
) -> None:
    shop = a_shop(mill)
    order = long_ago(shop, sold(shop, external_id="web-old"))
    put_away(shop)
    other = shop.another_source("market", Policy())
    shop.intake.accept_all(other, [an_order(external_id="web-old")])

    code, said = command("orders", "show", "--external-id", "web-old")
    _, shown = command("orders", "show", "--external-id", "web-old", "--source", "shop", "--json")

    assert (code, "expected one of market, shop" in said) == (2, True)
    assert json.loads(shown)["id"] == order


@pytest.mark.parametrize(
    ("words", "found"),
    [
        ([], True),
        (["--status", "confirmed"], True),
        (["--status", "cancelled"], False),
        (["--source", "shop", "--external-id", "web-old"], True),
        (["--stage", "pay"], False),
        (["--sku", MUG], True),
        (["--sku", POSTER], False),
        (["--email", "Ada@example.com"], True),
        (["--email", "bob@example.com"], False),
        (["--older-than", "90d"], True),
        (["--older-than", "200d"], False),
    ],
)
def test_the_archive_is_listed_by_the_same_filters(
    mill: MakeMill, command: Command, words: list[str], found: bool
) -> None:
    shop = a_shop(mill)
    order = long_ago(shop, sold(shop, external_id="web-old"))
    put_away(shop)

    _, listed = command("orders", "ls", "--archived", "--json", *words)

    assert [row["id"] for row in json.loads(listed)] == ([order] if found else [])


def test_one_known_by_an_id_is_found_by_the_address_in_the_archive_and_back_from_it(
    mill: MakeMill, command: Command
) -> None:
    shop = a_shop(mill)
    customer = {"id": "17", "email": "bob@example.com"}
    order = long_ago(shop, sold(shop, customer=customer))
    put_away(shop)

    def found(*words: str) -> list[int]:
        _, listed = command("orders", "ls", "--json", "--email", "Bob@example.com", *words)
        return [row["id"] for row in json.loads(listed)]

    assert (found("--archived"), found()) == ([order], [])
    with shop.database.transaction() as tx:
        archive.restore(tx, [order], "somebody")
    assert (found("--archived"), found()) == ([], [order])


# --- What goes, and what stays --------------------------------------------------------------------


def holds_goods(shop: Mill, order: int) -> Any:
    row = {"order_id": order, "line_no": 1, "location": "main", "sku": MUG, "quantity": 2}
    return insert(reservations).values(row)


def is_owed_a_task(shop: Mill, order: int) -> Any:
    return insert(payment_tasks).values(
        order_id=order, key="k", attempts=0, due_at=datetime.now(UTC)
    )


def has_asked_for_money(shop: Mill, order: int) -> Any:
    return insert(payment_operations).values(
        order_id=order, key="k", state="requested", kind="refund", amount=1, currency="EUR",
        gateway="sandbox", at=datetime.now(UTC),
    )  # fmt: skip


def has_a_mail_to_be_sent(shop: Mill, order: int) -> Any:
    return update(notifications).where(notifications.c.order_id == order).values(state="pending")


def has_news_of_its_payment(shop: Mill, order: int) -> Any:
    return insert(gateway_events).values(
        gateway="sandbox", event_id="e", type="refund", reference=reference(shop, order),
        received_at=datetime.now(UTC),
    )  # fmt: skip


def differs_from_the_gateway(shop: Mill, order: int) -> Any:
    at = datetime.now(UTC)
    return insert(payment_differences).values(
        gateway="sandbox", kind="amount", order_id=order, key="k", at=at, times=1, found_at=at,
        seen_at=at,
    )  # fmt: skip


@pytest.mark.parametrize(
    "still",
    [
        holds_goods, is_owed_a_task, has_asked_for_money, has_a_mail_to_be_sent,
        has_news_of_its_payment, differs_from_the_gateway,
    ],
)  # fmt: skip
def test_an_order_that_is_not_really_over_stays(
    mill: MakeMill, still: Callable[[Mill, int], Any]
) -> None:
    shop = a_shop(mill)
    order = long_ago(shop, sold(shop))
    with shop.database.transaction() as tx:
        tx.execute(still(shop, order))

    assert put_away(shop) == 0
    assert order in live(shop)


def test_one_that_waits_for_a_person_or_a_stage_stays(mill: MakeMill) -> None:
    shop = a_shop(mill)
    held = shop.accept(method="pm_crash")
    shop.turn()
    waiting = shop.accept()
    pass_time(shop)

    assert put_away(shop) == 0
    assert live(shop) == [held, waiting]


def test_one_to_which_something_happened_lately_stays(mill: MakeMill) -> None:
    shop = a_shop(mill)
    order = long_ago(shop, sold(shop))
    with shop.database.transaction() as tx:
        orders.note(tx, [orders.Note(order, "looked_at")], "ada")

    assert put_away(shop) == 0


def test_no_id_is_given_twice_though_all_orders_are_over(mill: MakeMill) -> None:
    shop = a_shop(mill)
    over = [refused(shop) for _ in range(3)]
    pass_time(shop)
    put_away(shop)

    new = shop.accept()

    assert archived(shop) == over[:-1]
    assert new > over[-1]


def test_a_coupon_s_use_under_an_id_and_an_e_mail_stays_one_use_in_the_archive(
    mill: MakeMill,
) -> None:
    shop = a_shop(mill)
    promotion = {"id": "p", "name": "Half", "effect": {"type": "percent", "percent": 50}}
    coupon = {"code": "TWICE", "promotions": ["p"], "limit_per_customer": 2}
    shop.price_by({"promotions": [promotion], "coupons": [coupon]})
    by_both = {"customer": {"id": "c-9", "email": "eve@example.com"}, "coupons": ["TWICE"]}
    first = long_ago(shop, sold(shop, **by_both))
    put_away(shop)
    assert archived(shop) == [first]

    again = [shop.accept(**by_both) for _ in range(2)]
    shop.turn()

    assert [shop.row(order).reason for order in again] == [None, "coupon_exhausted"]


def test_what_is_of_an_archived_order_and_no_ledger_is_gone(mill: MakeMill) -> None:
    shop = a_shop(mill)
    order = long_ago(shop, sold(shop, **DEARER))
    put_away(shop)

    for table in archive.MOVED:
        with shop.database.snapshot() as tx:
            its = select(table).where(archive.order_id_of(table) == order)
            assert tx.execute(its).all() == [], table.name
    assert shop.query(f"SELECT code FROM coupon_redemptions WHERE order_id = {order}") == [("TEN",)]
    assert booked(shop)["capture"] > 0


def test_the_audit_and_the_reconciliation_find_nothing_before_during_and_after(
    mill: MakeMill,
) -> None:
    shop = a_shop(mill)
    ends = [sold(shop, **DEARER), refused(shop), called_off(shop)]
    long_ago(shop, ends[0])
    long_since = datetime(2000, 1, 1, tzinfo=UTC)

    def differences() -> int:
        until = datetime.now(UTC)
        return reconcile(
            shop.database, shop.gateway, long_since, until, under_way=timedelta(0)
        ).total

    for away in (ends[:1], ends[1:]):
        with shop.database.transaction() as tx:
            archive.move(tx, away)
        assert findings(shop) == []
        assert differences() == 0
    for back in ends:
        act(shop, operations.restore, [back])
        assert findings(shop) == []
    assert live(shop)[:3] == ends


# --- Idempotency ----------------------------------------------------------------------------------


def test_an_archived_order_sent_again_is_a_duplicate_and_with_another_content_a_conflict(
    mill: MakeMill,
) -> None:
    shop = a_shop(mill)
    order = long_ago(shop, sold(shop, external_id="web-old"))
    put_away(shop)
    there = live(shop)

    again = shop.send(an_order(external_id="web-old"))
    other = shop.send(an_order(external_id="web-old", lines=[(MUG, 3)]))

    assert (again.verdict, again.order_id) == (Verdict.DUPLICATE, order)
    assert (other.verdict, other.order_id) == (Verdict.CONFLICT, order)
    assert live(shop) == there
    assert findings(shop) == []


def test_of_a_batch_only_what_is_neither_live_nor_archived_is_new(mill: MakeMill) -> None:
    shop = a_shop(mill)
    old = long_ago(shop, sold(shop, external_id="web-old"))
    put_away(shop)
    known = shop.accept(external_id="web-live")
    names = ["web-new", "web-old", "web-live", "web-old"]

    receipts = shop.intake.accept_all(shop.source, [an_order(external_id=n) for n in names])

    assert [r.verdict.value for r in receipts] == ["accepted", *["duplicate"] * 3]
    assert [r.order_id for r in receipts[1:]] == [old, known, old]
    assert findings(shop) == []


def test_an_order_sent_while_it_is_being_archived_is_a_duplicate(mill: MakeMill) -> None:
    shop = a_shop(mill)
    order = long_ago(shop, sold(shop, external_id="web-old"))
    receipts = []
    sender = threading.Thread(
        target=lambda: receipts.append(shop.send(an_order(external_id="web-old")))
    )

    with shop.database.transaction() as tx:
        over, _ = archive.lock_over(tx, shop.source.id, due(shop).cutoff, 0, 10)
        assert archive.move(tx, over) == 1
        sender.start()
        sender.join(0.3)  # it waits for us
    sender.join(10)

    assert [(r.verdict, r.order_id) for r in receipts] == [(Verdict.DUPLICATE, order)]
    assert archived(shop) == [order]


# --- What comes back ------------------------------------------------------------------------------


def test_an_order_that_is_restored_by_hand_says_by_whom_and_is_as_before(
    mill: MakeMill, command: Command
) -> None:
    shop = a_shop(mill)
    order = long_ago(shop, sold(shop, **DEARER))
    before = json.loads(command("orders", "show", order, "--json")[1])
    put_away(shop)

    code, _ = command("orders", "restore", order)

    after = json.loads(command("orders", "show", order, "--json")[1])
    last = after["events"].pop()
    told = {"version": last["seq"], "updated_at": last["at"]}
    assert (code, after) == (0, {**before, **told})
    assert last["kind"] == "restored"
    assert last["actor"].startswith("cli:")
    assert archived(shop) == []


def test_nothing_is_restored_if_one_of_the_orders_is_not_there(mill: MakeMill) -> None:
    shop = a_shop(mill)
    order = long_ago(shop, sold(shop))
    put_away(shop)

    with pytest.raises(UnknownOrder, match="there is no order 99"):
        act(shop, operations.restore, [order, 99])

    assert archived(shop) == [order]


def test_a_restored_order_stays_as_long_again(mill: MakeMill) -> None:
    shop = a_shop(mill)
    order = long_ago(shop, sold(shop))
    put_away(shop)
    act(shop, operations.restore, [order])

    assert put_away(shop) == 0

    pass_time(shop)
    assert put_away(shop) == 1
    assert findings(shop) == []


def test_a_refund_brings_the_order_back_first(mill: MakeMill) -> None:
    shop = a_shop(mill)
    order = long_ago(shop, sold(shop))
    put_away(shop)

    operation = act(shop, operations.refund, order, amount=500)
    shop.payment_tasks.run([(order, operation.key)])

    assert shop.timeline(order)[-3:] == ["restored", "refund_requested", "refunded"]
    assert booked(shop)["refund"] == 500
    assert findings(shop) == []


@pytest.mark.parametrize("what", ["refund", "dispute"])
def test_what_happens_at_the_gateway_brings_the_order_back_first(mill: MakeMill, what: str) -> None:
    shop = a_shop(mill)
    order = long_ago(shop, sold(shop))
    put_away(shop)
    gateway = shop.gateway
    assert isinstance(gateway, Gateway)
    happen = gateway.refund_at_gateway if what == "refund" else gateway.dispute

    happen(reference(shop, order), 500)
    tell(shop, told(shop)[-1])

    assert order in live(shop)
    assert shop.timeline(order)[-2:] == ["restored", {"refund": "refunded"}.get(what, "disputed")]
    assert findings(shop) == []


def test_late_money_for_an_archived_order_goes_back(mill: MakeMill) -> None:
    shop = a_shop(mill)
    order = shop.accept(method="pm_requires_action")
    shop.turn(impatient=False)
    where = reference(shop, order)
    act(shop, operations.cancel, order)
    shop.turn()
    long_ago(shop, order)
    with shop.database.transaction() as tx:
        archive.move(tx, [order])
    gateway = shop.gateway
    assert isinstance(gateway, Gateway)

    gateway.pay_late(where)
    shop.gateway_events.poll()
    shop.payment_tasks.run()

    assert order in live(shop)
    assert booked(shop)["capture"] == booked(shop)["refund"] > 0 or booked(shop)["void"] > 0
    assert findings(shop) == []


def test_of_two_who_need_an_archived_order_at_once_both_get_it(mill: MakeMill) -> None:
    shop = a_shop(mill)
    order = long_ago(shop, sold(shop))
    put_away(shop)
    statuses = []

    def lock() -> None:
        with shop.database.transaction() as tx:
            statuses.append(orders.lock(tx, order).status)

    other = threading.Thread(target=lock)
    with shop.database.transaction() as tx:
        orders.lock(tx, order)
        other.start()
        other.join(0.3)
    other.join(10)

    assert statuses == ["confirmed"]
    assert shop.timeline(order).count("restored") == 1


# --- Customers and coupons ------------------------------------------------------------------------


def test_who_has_ordered_before_is_known_by_what_is_archived(mill: MakeMill) -> None:
    promotion = {
        "id": "hello", "name": "Hello", "effect": {"type": "percent", "percent": 50},
        "when": {"first_order": True},
    }  # fmt: skip
    shop = mill(gateway=Gateway(), rules={"promotions": [promotion]}).stocked()
    first = sold(shop)
    long_ago(shop, first)
    put_away(shop)
    assert archived(shop) == [first]

    again = shop.accept()
    stranger = shop.accept(customer={"email": "bob@example.com"})
    shop.turn()

    totals = shop.query(
        f"SELECT total FROM quotes WHERE order_id IN ({again}, {stranger}) ORDER BY 1"
    )
    assert totals == [(1000,), (2000,)]


def test_a_coupon_stays_used_by_whoever_used_it(mill: MakeMill) -> None:
    shop = a_shop(mill)
    long_ago(shop, sold(shop, **DEARER))
    put_away(shop)

    again = shop.accept(**DEARER)
    shop.turn()

    assert (shop.status(again), shop.row(again).reason) == ("rejected", "coupon_exhausted")


# --- Death ----------------------------------------------------------------------------------------


def test_whoever_dies_wherever_each_order_is_in_one_place_and_whole(
    database: Database, tmp_path: Path
) -> None:
    hand = Database(database.url.render_as_string(hide_password=False))
    for each in (database, hand):
        without_syncing(each)
    shop = Mill(database, gateway=Gateway(), rules=PRICING).stocked()
    mine = Mill(hand, gateway=shop.gateway)
    order = long_ago(shop, sold(shop, **DEARER))
    cutoff = due(shop).cutoff
    whole = everything(mine, order)

    def move(points: Points) -> None:
        points.watch(database)
        with database.transaction() as tx:
            over, _ = archive.lock_over(tx, shop.source.id, cutoff, 0, 10)
            archive.move(tx, over)

    def restore(points: Points) -> None:
        points.watch(database)
        with database.transaction() as tx:
            archive.restore(tx, [order], "ada")

    survived = 0
    for work, begins, ends in ((move, [], [order]), (restore, [order], [])):
        put_back(mine, order, begins)
        points = points_of(database, hand, tmp_path, work)
        assert archived(mine) == ends
        put_back(mine, order, begins)
        for number, point in enumerate(points, start=1):
            assert die_at(database, hand, number, work), point
            came_to = archived(mine)
            assert came_to == (ends if point == "after COMMIT" else begins), point
            assert everything(mine, order)[: len(whole)] == whole, point
            assert findings(mine) == [], point
            put_back(mine, order, begins)
            survived += 1
    hand.close()
    assert survived > 20


def put_back(shop: Mill, order: int, begins: list[int]) -> None:
    """To where it was, in the hand that doesn't die; restored, it would tell: as it was, then."""
    is_away = order in archived(shop)
    with shop.database.transaction() as tx:
        if is_away:
            archive.restore(tx, [order], "ada")
        tx.execute(text(f"DELETE FROM events WHERE order_id = {order} AND kind = 'restored'"))
        last = f"(SELECT max(seq) FROM events WHERE order_id = {order})"
        tx.execute(text(f"UPDATE orders SET version = {last} WHERE id = {order}"))
        if begins:
            archive.move(tx, [order])


def everything(shop: Mill, order: int) -> list[Any]:
    """All that is known of it, wherever it is, but for its having been restored."""
    is_away = order in archived(shop)
    with shop.database.snapshot() as tx:
        found = archive.contents(tx, order) if is_away else {
            table.name: [dict(r._mapping) for r in tx.execute(
                select(table).where(archive.order_id_of(table) == order).order_by(*table.primary_key)
            )]
            for table in archive.MOVED
        }  # fmt: skip
    for row in found["orders"]:
        del row["version"]
    found["events"] = [row for row in found["events"] if row["kind"] != "restored"]
    return sorted((name, json.dumps(rows, default=str)) for name, rows in found.items())


# --- Job and command ------------------------------------------------------------------------------


def test_the_job_archives_by_each_source_s_policy(mill: MakeMill, command: Command) -> None:
    shop = a_shop(mill)
    order = long_ago(shop, sold(shop))
    assert json.loads(command("jobs", "run", "archive-orders", "--json")[1])["result"] == {
        "archived": 0
    }

    command("sources", "set", "shop", "--set", "archive_after=60")
    _, ran = command("jobs", "run", "archive-orders", "--json")

    assert json.loads(ran)["result"] == {"archived": 1}
    assert archived(shop) == [order]


def test_a_policy_leaves_reconciliation_its_time(command: Command) -> None:
    code, said = command("sources", "set", "shop", "--set", "archive_after=34")

    assert code == 2
    assert "archive_after" in said
    assert "35" in said


def test_a_dry_run_counts_and_changes_nothing(mill: MakeMill, command: Command) -> None:
    shop = a_shop(mill)
    long_ago(shop, sold(shop))
    holding = shop.accept()
    shop.turn()
    pass_time(shop)
    newest(shop)

    _, told_of = command("orders", "archive", "--older-than", "90d", "--dry-run", "--json")

    assert json.loads(told_of) == {"due": [{"source": "shop", "orders": 1}], "archived": 0}
    assert (archived(shop), shop.status(holding)) == ([], "confirmed")


def test_by_hand_it_goes_by_age_and_source(mill: MakeMill, command: Command) -> None:
    shop = a_shop(mill)
    order = long_ago(shop, sold(shop))
    command("sources", "set", "market")

    _, of_market = command(
        "orders", "archive", "--older-than", "90d", "--source", "market", "--json"
    )
    _, of_all = command("orders", "archive", "--older-than", "90d", "--rate", "1000", "--json")

    assert json.loads(of_market)["archived"] == 0
    assert json.loads(of_all)["archived"] == 1
    assert archived(shop) == [order]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--older-than", "34d"], "--older-than: got 34d, expected at least 35d"),
        (["--older-than", "long"], "--older-than: got 'long'"),
        (["--rate", "0"], "--rate: got 0"),
        (["--source", "nowhere"], "there is no source named 'nowhere'"),
    ],
)
def test_what_makes_no_sense_is_refused_by_name(
    command: Command, words: list[str], said: str
) -> None:
    code, printed = command("orders", "archive", *words)

    assert code == 2
    assert said in printed


def test_batches_are_gone_through_to_the_end(mill: MakeMill, monkeypatch: Any) -> None:
    monkeypatch.setattr(retention, "MOST_ORDERS", 2)
    shop = a_shop(mill)
    over = [refused(shop) for _ in range(5)]
    held = shop.accept(method="pm_crash")
    shop.turn()
    long_ago(shop, held)
    progress: list[int] = []

    moved = retention.archive_all(
        shop.database, [due(shop)], retention.Pace(room=0.0), progress.append
    )

    assert (moved, archived(shop)) == (5, over)
    assert progress == [2, 4, 5]


def test_who_leaves_room_rests_and_ends_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    slept: list[float] = []
    monkeypatch.setattr("time.sleep", slept.append)

    retention.Pace(room=4.0).rest(1000, 0.5)
    retention.Pace(rate=100.0).rest(1000, 0.5)
    retention.Pace(rate=10_000.0).rest(1000, 0.5)

    assert slept == [2.0, 9.5, 0.0]
    assert retention.Pace(seconds=-1.0).is_over()


def test_a_body_from_before_a_column_was_there_gets_its_default(mill: MakeMill) -> None:
    shop = a_shop(mill)
    order = long_ago(shop, sold(shop))
    put_away(shop)
    with shop.database.transaction() as tx:
        body = json.loads(tx.execute(select(archived_orders.c.body)).scalar_one())
        for line in body["order_lines"]:
            del line["discount"]
        tx.execute(update(archived_orders).values(body=json.dumps(body)))

    act(shop, operations.restore, [order])

    assert findings(shop) == []


def test_what_is_no_order_of_ours_is_still_unknown(mill: MakeMill) -> None:
    shop = a_shop(mill)

    with pytest.raises(InvalidInput, match="there is no order 7"):
        act(shop, operations.cancel, 7)
