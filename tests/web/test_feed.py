"""The feed of events: everything once, in one order, however late it was committed."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import pytest
from starlette.testclient import TestClient

from pipeline import check_postgres
from pipeline.storage import feed, orders, sql
from pipeline.storage.database import Database
from pipeline.storage.orders import Note
from tests.support import Mill

As = Callable[..., TestClient]


def walk(client: TestClient, after: str | None = None, **params: Any) -> tuple[list[Any], str]:
    """All events from a cursor on, and the cursor at their end."""
    events: list[Any] = []
    while True:
        page = client.get("/v1/events", params={**params, **({"cursor": after} if after else {})})
        assert page.status_code == 200, page.text
        told = page.json()
        events += told["items"]
        after = told["next"]
        if not told["more"]:
            return events, str(after)


def names(events: list[Any]) -> list[tuple[int, int]]:
    return [(event["order_id"], event["seq"]) for event in events]


def note(database: Database, order_id: int, kind: str) -> None:
    with database.transaction() as tx:
        orders.note(tx, [Note(order_id, kind)], "test")


@pytest.mark.parametrize("limit", [1, 3, 500])
def test_all_events_are_told_once_in_the_order_of_their_time(
    client: TestClient, shop: Mill, limit: int
) -> None:
    for _ in range(5):
        shop.accept()
    shop.turn()

    events, _ = walk(client, limit=limit)

    assert sorted(names(events)) == sorted(shop.query("SELECT order_id, seq FROM events"))
    assert [event["at"] for event in events] == sorted(event["at"] for event in events)


def test_who_comes_back_with_his_cursor_is_told_what_is_new(client: TestClient, shop: Mill) -> None:
    shop.accept()
    first, cursor = walk(client)
    nothing, cursor = walk(client, cursor)
    shop.accept()
    second, _ = walk(client, cursor)

    assert (names(first), nothing, names(second)) == ([(1, 1)], [], [(2, 1)])


@pytest.mark.parametrize("database", ["sqlite"], indirect=True)
@pytest.mark.parametrize("days", [-3, 3], ids=["back", "forward"])
def test_nothing_is_skipped_though_the_clock_of_the_home_was_wrong_meanwhile(
    client: TestClient, shop: Mill, database: Database, days: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On SQLite the database's clock is the host's; a Postgres has one of its own."""
    first = shop.accept()
    seen, cursor = walk(client)
    now = sql._now
    with monkeypatch.context() as wrong:
        wrong.setattr(sql, "_now", lambda offset: now(offset + days * 86_400.0))
        note(database, first, "refunded")
        meanwhile, cursor = walk(client, cursor)
    for _ in range(3):
        note(database, first, "refunded")
    shop.accept()
    afterwards, _ = walk(client, cursor)

    told = [*seen, *meanwhile, *afterwards]
    assert (len(meanwhile), len(afterwards)) == (1, 4)
    assert sorted(names(told)) == sorted(shop.query("SELECT order_id, seq FROM events"))
    assert [event["at"] for event in told] == sorted(event["at"] for event in told)


def test_it_begins_where_it_is_asked_to(client: TestClient, shop: Mill) -> None:
    shop.accept()
    shop.accept()
    [_, later], _ = walk(client)

    assert names(walk(client, since=later["at"])[0]) == [(2, 1)]
    assert walk(client, since="2999-01-01T00:00:00Z")[0] == []


def test_a_source_is_told_of_its_own_orders(as_: As, shop: Mill) -> None:
    shop.accept()

    assert walk(as_("rival"))[0] == []
    assert len(walk(as_("shop"))[0]) == len(walk(as_(None))[0]) == 1


def test_a_page_costs_the_same_for_a_source_with_few_orders(
    as_: As, shop: Mill, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(feed, "MOST_LOOKED_AT", 2)
    for _ in range(5):
        shop.accept()
    rival = as_("rival")

    first = rival.get("/v1/events").json()

    assert (first["items"], first["more"]) == ([], True)
    assert walk(rival)[0] == []
    assert len(walk(as_("shop"))[0]) == 5


# --- Transactions that overlap --------------------------------------------------------------------


@pytest.mark.parametrize("database", ["postgres"], indirect=True)
def test_what_was_written_before_and_commits_after_is_not_skipped(
    client: TestClient, shop: Mill
) -> None:
    slow, quick = shop.accept(), shop.accept()
    _, cursor = walk(client)

    with shop.database.transaction() as tx:
        orders.note(tx, [Note(slow, "slow")], "test")  # the older event
        note(shop.database, quick, "quick")  # a younger one, which is committed first
        meanwhile, cursor = walk(client, cursor)
    afterwards, _ = walk(client, cursor)

    assert meanwhile == []  # held back, as an older one may yet come
    assert [event["kind"] for event in afterwards] == ["slow", "quick"]


@pytest.mark.parametrize("database", ["postgres"], indirect=True)
def test_it_says_for_how_long_somebodys_transaction_has_held_it_back_and_check_says_whose(
    client: TestClient, shop: Mill, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(check_postgres, "HELD_BACK", 1.0)
    order = shop.accept()

    before = client.get("/v1/events").json()
    with shop.database.transaction() as tx:
        tx.exec_driver_sql("SET LOCAL application_name = 'report'")
        orders.note(tx, [Note(order, "slow")], "test")
        tx.exec_driver_sql("SELECT pg_sleep(1.1)")
        meanwhile = client.get("/v1/events").json()
        [told] = [f for f in check_postgres.look(shop.database) if f[0] == "feed"]

    assert before["held_back"] == 0
    assert meanwhile["held_back"] >= 1
    assert (told[1], "(report, process" in told[2]) == ("warning", True)


@pytest.mark.parametrize("database", ["postgres"], indirect=True)
def test_a_transaction_that_has_written_nothing_holds_nothing_back(
    client: TestClient, shop: Mill
) -> None:
    first, second = shop.accept(), shop.accept()
    _, cursor = walk(client)

    with shop.database.transaction() as tx:
        orders_read = tx.exec_driver_sql("SELECT count(*) FROM orders").scalar_one()
        note(shop.database, first, "first")
        told, cursor = walk(client, cursor)
        orders.note(tx, [Note(second, "second")], "test")  # begun before, written after
    later, _ = walk(client, cursor)

    assert orders_read == 2
    assert [event["kind"] for event in told] == ["first"]
    assert [event["kind"] for event in later] == ["second"]


def test_under_fire_nothing_is_skipped_and_nothing_told_twice(
    client: TestClient, shop: Mill
) -> None:
    order_ids = [shop.accept() for _ in range(8)]
    over = threading.Event()

    def write(order_id: int) -> None:
        for n in range(15):
            with shop.database.transaction() as tx:
                orders.note(tx, [Note(order_id, f"n{n}")], "test")
                if n % 3 == order_id % 3 and not shop.database.is_sqlite:
                    over.wait(0.02)  # commits late

    writers = [threading.Thread(target=write, args=(i,)) for i in order_ids]
    for writer in writers:
        writer.start()
    told: list[Any] = []
    cursor = None
    while any(writer.is_alive() for writer in writers):
        some, cursor = walk(client, cursor, limit=7)
        told += some
    told += walk(client, cursor)[0]

    assert len(names(told)) == len(set(names(told)))
    assert sorted(names(told)) == sorted(shop.query("SELECT order_id, seq FROM events"))
