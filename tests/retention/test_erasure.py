"""Erasure: nothing that says who ordered is left anywhere, and all that was sold and paid is."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import insert, select, text, update

from pipeline import operations, retention
from pipeline.erasure import ERASED, anonymous
from pipeline.intake.accept import Verdict
from pipeline.intake.schema import OrderIn
from pipeline.notifications.email import discard
from pipeline.order import customer_key, email_key
from pipeline.retention import Pace, erase_all
from pipeline.source import Policy
from pipeline.storage import clock, orders, refusals
from pipeline.storage.database import Database
from pipeline.storage.tables import job_runs, metadata, notifications, order_documents
from tests.payments.dying import Points, die_at, points_of, without_syncing
from tests.payments.shop import Gateway, MakeMill, act, findings
from tests.retention.conftest import Command
from tests.retention.shop import TRACKING, archived, due, pass_time, put_away, ship
from tests.support import MUG, Mill, an_order

PRICING = {
    "promotions": [{"id": "ten", "name": "Ten off", "effect": {"type": "percent", "percent": 10}}],
    "coupons": [{"code": "TEN", "promotions": ["ten"], "limit": 5, "limit_per_customer": 2}],
}
ADA = "Ada.Lovelace@Example.com"
#: Who it is, wherever that can be said of an order.
PERSON: dict[str, Any] = {
    "customer": {
        "email": ADA, "name": "Ada \"Countess\" Lovelace", "id": "cust-1815", "group": "trade",
        "vat_id": "DE136695976",
    },
    "ship_to": {
        "country": "DE", "postal_code": "72TUE", "city": "Tübingen", "region": "BW",
        "street": "Österbergstr. 12",
    },
    "bill_to": {"country": "FR", "postal_code": "75PAR", "city": "Paris", "street": "Rue Oberkampf 3"},
    "metadata": {"gift_note": "Happy birthday, Byron!", "phone": "+49 7071 123456"},
    "coupons": ["TEN"],
}  # fmt: skip
KEY = customer_key("shop", PERSON["customer"]) or ""
#: What is planted, and must not be found again in any form.
PLANTED = [
    ADA, ADA.lower(), "Countess", "Lovelace", "cust-1815", "DE136695976", "72TUE", "Tübingen",
    "T\\u00fcbingen", "Österberg", "75PAR", "Paris", "Oberkampf", "Byron", "7071 123456", KEY,
    email_key(ADA), TRACKING, "too blue for Ada",
]  # fmt: skip


def sold(shop: Mill, **changes: Any) -> int:
    """Ada's order, confirmed, shipped and told of, with all that may be written of it since."""
    order = shop.accept(**{**PERSON, "method": "pm_card_visa_of_Lovelace", **changes})
    shop.turn()
    assert shop.status(order) == "confirmed"
    ship(shop, order)
    operation = act(shop, operations.refund, order, amount=100, reason="too blue for Ada Lovelace")
    shop.payment_tasks.run([(order, operation.key)])
    with shop.database.transaction() as tx:
        note = orders.Note(
            order, "held", "defect", {"error": f"ValueError: {ADA}", "amount": "1.00"}
        )
        orders.lock(tx, order)
        orders.note(tx, [note], "engine")
        its = notifications.c.order_id == order
        tx.execute(update(notifications).where(its).values(error=f"the server refused {ADA}: 550"))
        name = tx.execute(select(orders.orders.c.external_id).where(orders.orders.c.id == order))
        refusals.add(
            tx, "shop", [(name.scalar_one(), [f'customer.email: got "{ADA}", expected …'])]
        )
        run = {
            "job": "deliver-notifications", "fire_at": clock.read(tx), "state": "fine", "attempt": 1,
            "log": f"WARNING mail to {ADA.lower()} was refused", "error": f"{ADA} is away",
        }  # fmt: skip
        tx.execute(insert(job_runs).values(run))
    return order


def a_shop(mill: MakeMill, **options: Any) -> Mill:
    return mill(gateway=Gateway(), rules=PRICING, **options).stocked()


def dump(shop: Mill) -> Iterator[tuple[str, str]]:
    """All that is in the database, as (table, text)."""
    with shop.database.snapshot() as tx:
        for table in metadata.sorted_tables:
            for row in tx.execute(text(f"SELECT * FROM {table.name}")):
                yield table.name, " ".join(map(str, row))


def traces(shop: Mill) -> set[tuple[str, str]]:
    """What of the planted is found, with the table where it is."""
    return {
        (table, planted)
        for table, row in dump(shop)
        for planted in PLANTED
        if planted.lower() in row.lower()
    }


def erase(shop: Mill, *order_ids: int, mails: Path = Path("nowhere")) -> Any:
    return retention.erase(shop.database, order_ids, mails, "ada")


def archive_it(shop: Mill, order: int) -> None:
    shop.accept(customer={})
    shop.turn()
    pass_time(shop)
    assert put_away(shop) == 1
    assert archived(shop) == [order]


def leave_it(shop: Mill, order: int) -> None:
    """It stays in the tables."""


WHERE = {"live": leave_it, "archived": archive_it}
anywhere = pytest.mark.parametrize("place", WHERE)


# --- What goes ------------------------------------------------------------------------------------


@anywhere
def test_nothing_of_the_person_is_left_in_the_whole_database(mill: MakeMill, place: str) -> None:
    shop = a_shop(mill)
    order = sold(shop)
    WHERE[place](shop, order)
    found = {planted for _, planted in traces(shop)}
    assert found >= set(PLANTED) - {"T\\u00fcbingen"}

    done = erase(shop, order)

    assert done.erased == [order]
    assert traces(shop) == set()
    assert findings(shop) == []


@anywhere
def test_what_was_sold_and_paid_is_told_as_before(
    mill: MakeMill, command: Command, place: str
) -> None:
    shop = a_shop(mill)
    order = sold(shop)
    WHERE[place](shop, order)
    before = json.loads(command("orders", "show", order, "--json")[1])

    erase(shop, order)

    after = json.loads(command("orders", "show", order, "--json")[1])
    last = after["events"].pop()
    assert (last["kind"], last["actor"]) == ("erased", "ada")
    for same in (
        "id",
        "external_id",
        "status",
        "total",
        "quote",
        "lines",
        "payments",
        "payment_status",
    ):
        assert after[same] == before[same], same
    assert [e["kind"] for e in after["events"]] == [e["kind"] for e in before["events"]]
    assert after["document"] == {
        "external_id": before["external_id"],
        "currency": "EUR",
        "customer": {"group": "trade"},
        "ship_to": {"country": "DE", "postal_code": "72"},
        "bill_to": {"country": "FR", "postal_code": "75"},
        "lines": before["document"]["lines"],
        "coupons": ["TEN"],
        "payment": {"method": ERASED},
    }


def test_amounts_keys_and_reasons_of_ours_stay_in_the_timeline(mill: MakeMill) -> None:
    shop = a_shop(mill)
    order = sold(shop)
    query = f"SELECT kind, reason, detail FROM events WHERE order_id = {order} ORDER BY seq"
    before = {r.kind: json.loads(r.detail or "{}") for r in shop.query(query)}

    erase(shop, order)

    after = {r.kind: (r.reason, json.loads(r.detail or "{}")) for r in shop.query(query)}
    assert after["refunded"] == (None, before["refunded"])
    assert after["refund_requested"] == (ERASED, before["refund_requested"])
    assert after["held"] == ("defect", {"error": ERASED, "amount": "1.00"})


def test_mails_that_lie_in_the_home_s_folder_go_too(mill: MakeMill, tmp_path: Path) -> None:
    shop = a_shop(mill)
    order, other = sold(shop), shop.accept()
    shop.turn()
    mails = tmp_path / "mail"
    mails.mkdir()
    for row in shop.query("SELECT id FROM notifications"):
        (mails / f"{row.id}.eml").write_text("Dear customer")

    erase(shop, order, mails=mails)

    theirs = shop.query(f"SELECT id FROM notifications WHERE order_id = {other}")
    assert [path.stem for path in mails.iterdir()] == [row.id for row in theirs]


def test_a_mail_that_is_not_there_is_no_trouble(tmp_path: Path) -> None:
    discard(tmp_path / "nowhere", ["one"])


def test_what_was_yet_to_be_mailed_is_not_sent_any_more(mill: MakeMill) -> None:
    shop = a_shop(mill)
    order = sold(shop)
    with shop.database.transaction() as tx:
        tx.execute(update(notifications).values(state="pending"))

    erase(shop, order)

    states = shop.query("SELECT DISTINCT state, target FROM notifications WHERE channel = 'email'")
    assert states == [("failed", ERASED)]


def test_where_somebody_was_told_by_a_channel_of_tomorrow_is_forgotten(mill: MakeMill) -> None:
    shop = a_shop(mill)
    order = sold(shop)
    with shop.database.transaction() as tx:
        tx.execute(update(notifications).values(channel="sms", target="+49 151 1234567"))

    erase(shop, order)

    assert shop.query("SELECT DISTINCT target FROM notifications") == [(ERASED,)]


def test_whatever_a_document_may_hold_one_day_goes_unless_it_is_named() -> None:
    kept = anonymous(
        {**an_order(), "loyalty_card": "4711", "payment": {"method": "pm", "iban": "DE"}}
    )

    assert "loyalty_card" not in kept
    assert kept["payment"] == {"method": ERASED}
    assert OrderIn.model_validate(kept)


# --- What stays as it is --------------------------------------------------------------------------


@anywhere
def test_the_same_order_sent_again_is_still_a_duplicate(mill: MakeMill, place: str) -> None:
    shop = a_shop(mill)
    document = an_order(external_id="web-ada", **PERSON, method="pm_card_visa_of_Lovelace")
    order = sold(shop, external_id="web-ada")
    WHERE[place](shop, order)
    erase(shop, order)

    again = shop.send(document)
    other = shop.send({**document, "lines": [{"sku": MUG, "quantity": 9}]})

    assert (again.verdict, again.order_id) == (Verdict.DUPLICATE, order)
    assert other.verdict is Verdict.CONFLICT


@anywhere
def test_twice_is_once(mill: MakeMill, place: str) -> None:
    shop = a_shop(mill)
    order = sold(shop)
    WHERE[place](shop, order)
    erase(shop, order)
    once = list(dump(shop))

    again = erase(shop, order)

    assert (again.erased, again.already) == ([], [order])
    assert list(dump(shop)) == once


def test_one_that_comes_back_from_the_archive_stays_erased(mill: MakeMill) -> None:
    shop = a_shop(mill)
    order = sold(shop)
    archive_it(shop, order)
    erase(shop, order)

    act(shop, operations.restore, [order])

    assert traces(shop) == set()
    assert erase(shop, order).already == [order]
    assert shop.timeline(order)[-2:] == ["erased", "restored"]
    assert findings(shop) == []


def test_one_that_was_erased_and_then_archived_stays_erased(mill: MakeMill) -> None:
    shop = a_shop(mill)
    order = sold(shop)
    erase(shop, order)
    archive_it(shop, order)

    assert erase(shop, order).already == [order]
    assert traces(shop) == set()


def test_a_coupon_counts_on_for_all_and_for_the_customer_by_what_is_not_erased(
    mill: MakeMill,
) -> None:
    shop = a_shop(mill)
    order, another = sold(shop), sold(shop)
    query = "SELECT customer, used FROM coupon_uses ORDER BY customer"
    assert set(shop.query(query)) == {("", 2), (KEY, 2), (email_key(ADA), 2)}

    erase(shop, order)
    assert set(shop.query(query)) == {("", 2), (KEY, 1), (email_key(ADA), 1)}
    assert findings(shop) == []

    erase(shop, another)
    assert shop.query(query) == [("", 2)]
    assert findings(shop) == []


def test_the_customer_s_other_orders_are_left_alone(mill: MakeMill) -> None:
    shop = a_shop(mill)
    order, another = sold(shop), sold(shop)

    erase(shop, order)

    with shop.database.snapshot() as tx:
        its = select(order_documents.c.customer).where(order_documents.c.order_id == another)
        assert tx.execute(its).scalar_one() == KEY


# --- Which ----------------------------------------------------------------------------------------


def held(shop: Mill) -> int:
    order = shop.accept(**{**PERSON, "method": "pm_crash"})
    shop.turn()
    assert shop.status(order) == "on_hold"
    return order


def on_its_way(shop: Mill) -> int:
    return shop.accept(**PERSON)


@pytest.mark.parametrize("unsettled", [held, on_its_way])
def test_one_that_is_not_settled_is_refused_with_its_number(
    mill: MakeMill, command: Command, unsettled: Callable[[Mill], int]
) -> None:
    shop = a_shop(mill)
    order = sold(shop)
    other = unsettled(shop)
    before = shop.query(f"SELECT body FROM order_documents WHERE order_id = {other}")

    code, said = command("orders", "erase", order, other)

    assert code == 1
    assert f"order {other} is not settled" in said
    assert "1 erased" in said
    assert shop.query(f"SELECT body FROM order_documents WHERE order_id = {other}") == before


def test_by_address_all_the_customer_s_orders_are_found_and_what_was_refused_of_them(
    mill: MakeMill, command: Command
) -> None:
    shop = a_shop(mill)
    old = sold(shop)
    archive_it(shop, old)
    new = sold(shop)
    with shop.database.transaction() as tx:
        refusals.add(tx, "shop", [(None, [f'customer.email: got "{ADA}"'])])

    code, said = command("orders", "erase", "--email", ADA.upper(), "--json")

    assert (code, json.loads(said)["erased"]) == (0, [old, new])
    assert traces(shop) == set()


def test_a_dry_run_tells_and_changes_nothing(mill: MakeMill, command: Command) -> None:
    shop = a_shop(mill)
    order = sold(shop)
    before = list(dump(shop))

    code, said = command("orders", "erase", order, "--dry-run", "--json")

    assert (code, json.loads(said)["erased"]) == (0, [order])
    assert list(dump(shop)) == before


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "name orders by id, or a customer by --email"),
        (["1", "--email", "ada@example.com"], "name orders by id, or a customer by --email"),
        (["99"], "there is no order 99"),
    ],
)
def test_what_can_not_be_meant_is_refused(
    mill: MakeMill, command: Command, words: list[str], said: str
) -> None:
    a_shop(mill)

    code, printed = command("orders", "erase", *words)

    assert code == 2
    assert said in printed


# --- The job --------------------------------------------------------------------------------------


@anywhere
def test_the_job_erases_by_each_source_s_policy(
    mill: MakeMill, command: Command, place: str
) -> None:
    shop = a_shop(mill)
    order = sold(shop)
    WHERE[place](shop, order)
    shop.accept(customer={})
    pass_time(shop)
    with shop.database.transaction() as tx:
        tx.execute(text("DELETE FROM job_runs"))  # by then they are gone: thirty days
        tx.execute(text("UPDATE refusals SET at = '2020-01-01 00:00:00.000000'"))

    assert json.loads(command("jobs", "run", "erase-personal-data", "--json")[1])["result"] == {
        "erased": 0
    }
    command("sources", "set", "shop", "--set", "erase_after=60")
    _, ran = command("jobs", "run", "erase-personal-data", "--json")
    _, again = command("jobs", "run", "erase-personal-data", "--json")

    assert json.loads(ran)["result"] == {"erased": 1}
    assert json.loads(again)["result"] == {"erased": 0}
    assert traces(shop) == set()


def test_the_job_leaves_who_still_waits_for_goods(mill: MakeMill) -> None:
    shop = a_shop(mill, policy=Policy(erase_after=60))
    waiting = shop.accept(**PERSON)
    shop.turn()
    shop.accept(customer={})
    pass_time(shop)

    assert erase_all(shop.database, [due(shop)], Pace(room=0.0), Path("nowhere"), "job") == 0
    assert (shop.status(waiting), traces(shop) != set()) == ("confirmed", True)


# --- Death ----------------------------------------------------------------------------------------


def test_whoever_dies_wherever_all_or_nothing_is_erased_and_again_all(
    database: Database, tmp_path: Path
) -> None:
    hand = Database(database.url.render_as_string(hide_password=False))
    for each in (database, hand):
        without_syncing(each)
    shop = Mill(database, gateway=Gateway(), rules=PRICING).stocked()
    mine = Mill(hand, gateway=shop.gateway)
    away = sold(shop)
    archive_it(shop, away)
    here = sold(shop)
    mails = tmp_path / "mail"
    mails.mkdir()
    whole = everything(mine)
    letters = [row.id for row in mine.query("SELECT id FROM notifications WHERE channel = 'email'")]
    assert letters

    def work(points: Points) -> None:
        points.watch(database)
        retention.erase(database, [here, away], mails, "ada")

    points = points_of(database, hand, tmp_path, work)
    assert traces(mine) == set()
    for number, point in enumerate(points, start=1):
        put_back(mine, whole)
        for letter in letters:
            (mails / f"{letter}.eml").write_text("Dear Ada")

        assert die_at(database, hand, number, work), point

        if point == "after COMMIT":
            assert traces(mine) == set(), point
        else:
            assert everything(mine) == whole, point
        assert findings(mine) == [], point
        retention.erase(hand, [here, away], mails, "ada")
        assert traces(mine) == set(), point
        assert list(mails.iterdir()) == [], point
        assert findings(mine) == [], point
    hand.close()
    assert len(points) > 20


Contents = dict[str, list[dict[str, Any]]]


def everything(shop: Mill) -> Contents:
    """All that is in the database."""
    with shop.database.snapshot() as tx:
        return {
            table.name: [
                dict(r._mapping) for r in tx.execute(select(table).order_by(*table.primary_key))
            ]
            for table in metadata.sorted_tables
        }


def put_back(shop: Mill, whole: Contents) -> None:
    """All as it was: what an erasure changed is written anew."""
    found = everything(shop)
    changed = [table for table in metadata.sorted_tables if found[table.name] != whole[table.name]]
    with shop.database.transaction() as tx:
        for table in reversed(changed):
            tx.execute(table.delete())
        for table in changed:
            tx.execute(insert(table), whole[table.name])
