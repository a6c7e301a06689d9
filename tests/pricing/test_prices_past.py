"""Prices keep their past: the moment of an order chooses among those that were on record then."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any

import pytest
from sqlalchemy import event, text

from pipeline.pricing.prices import ListPrice
from pipeline.source import Policy
from pipeline.storage import catalogue, clock
from pipeline.storage.catalogue import ProductIn
from pipeline.storage.database import Database
from tests.pricing.test_price_stage import lines_of, statements_counted
from tests.support import MUG, Mill

MakeMill = Callable[..., Mill]


def day(month: int, day: int) -> datetime:
    return datetime(2025, month, day, 12, tzinfo=UTC)


SALE = {"valid_from": datetime(2025, 11, 1, tzinfo=UTC), "valid_until": datetime(2025, 12, 1, tzinfo=UTC)}  # fmt: skip


def stored(database: Database, moment: datetime) -> str:
    """As the database writes a time."""
    return f"{moment:%Y-%m-%d %H:%M:%S.%f}{'' if database.is_sqlite else '+00:00'}"


def record(shop: Mill, at: datetime, amount: int, **special: Any) -> None:
    """Import a price of the mug, as if it had been at `at`."""
    with shop.database.transaction() as tx:
        began = stored(shop.database, clock.read(tx))
        price = ("EUR", ListPrice(amount, **special))
        catalogue.put(tx, [ProductIn(MUG, "Mug", True, False, {}, special=[price])])
        for table, column in (("prices", "recorded_at"), ("past_prices", "replaced_at")):
            tx.execute(
                text(f"UPDATE {table} SET {column} = :at WHERE {column} >= :began"),
                {"at": stored(shop.database, at), "began": began},
            )


@pytest.fixture
def shop(mill: MakeMill) -> Mill:
    """Standing 10.00, from ten 8.00, a sale at 7.00 in November; standing 10.50 from 10 November."""
    shop = mill(policy=Policy(placed_within=None)).stocked(units=1000)
    with shop.database.transaction() as tx:
        tx.execute(text("DELETE FROM prices"))
    record(shop, day(10, 1), 1000)
    record(shop, day(10, 1), 800, from_quantity=10)
    record(shop, day(10, 15), 700, **SALE)
    record(shop, day(11, 10), 1050)
    return shop


def price(shop: Mill, quantity: int, *, placed: datetime) -> int:
    """What a mug costs in an order that is imported now."""
    order = shop.accept(lines=[(MUG, quantity)], placed_at=placed.isoformat())
    shop.turn()
    return int(lines_of(shop, order)[0][1])


def price_then(shop: Mill, quantity: int, *, accepted: datetime) -> int:
    """What a mug costs in an order that was accepted then and says nothing."""
    order = shop.accept(lines=[(MUG, quantity)])
    with shop.database.transaction() as tx:
        tx.execute(
            text("UPDATE orders SET accepted_at = :at WHERE id = :id"),
            {"at": stored(shop.database, accepted), "id": order},
        )
    shop.turn()
    return int(lines_of(shop, order)[0][1])


@pytest.mark.parametrize(
    ("moment", "one", "ten"),
    [
        (day(10, 5), 1000, 800),
        (day(11, 1), 700, 700),
        (day(11, 9), 700, 700),
        (day(11, 20), 700, 700),
        (day(12, 5), 1050, 800),
    ],
)
def test_placed_then_or_imported_later_it_costs_the_same(
    shop: Mill, moment: datetime, one: int, ten: int
) -> None:
    assert [price_then(shop, n, accepted=moment) for n in (1, 10)] == [one, ten]
    assert [price(shop, n, placed=moment) for n in (1, 10)] == [one, ten]


def test_what_was_replaced_counts_until_then_and_not_with_then(mill: MakeMill) -> None:
    shop = mill(policy=Policy(placed_within=None)).stocked()
    record(shop, day(10, 1), 1000, customer_group="trade")
    record(shop, day(11, 10), 1050, customer_group="trade")
    before = datetime(2025, 11, 10, 11, 59, 59, 999_999, tzinfo=UTC)

    def costs(moment: datetime) -> int:
        order = shop.accept(customer={"group": "trade"}, placed_at=moment.isoformat())
        shop.turn()
        return int(lines_of(shop, order)[0][1])

    assert [costs(before), costs(day(11, 10))] == [1000, 1050]


def test_a_sale_that_was_cut_short_lasted_for_those_who_ordered_before(shop: Mill) -> None:
    ended = {"valid_from": SALE["valid_from"], "valid_until": datetime(2025, 11, 15, tzinfo=UTC)}
    record(shop, day(11, 14), 700, **ended)

    assert [price(shop, 1, placed=day(11, d)) for d in (13, 16)] == [700, 1050]


def test_a_price_that_was_not_on_record_yet_does_not_count_beside_one_that_was(shop: Mill) -> None:
    record(shop, day(12, 10), 500)
    record(shop, day(12, 11), 400, customer_group="trade")

    assert price(shop, 1, placed=day(12, 9)) == 1050
    order = shop.accept(customer={"group": "trade"}, placed_at=day(12, 10).isoformat())
    shop.turn()
    assert lines_of(shop, order)[0][1] == 500


def test_before_any_was_on_record_each_counts_as_it_was_first(shop: Mill) -> None:
    long_ago = datetime(2025, 9, 1, tzinfo=UTC)

    assert [price(shop, n, placed=long_ago) for n in (1, 10)] == [1000, 800]


def test_what_was_there_before_records_were_kept_is_on_record_since_ever(mill: MakeMill) -> None:
    shop = mill(policy=Policy(placed_within=None)).stocked()
    with shop.database.transaction() as tx:
        tx.execute(text("UPDATE prices SET recorded_at = NULL"))
    record(shop, day(11, 10), 1050)

    assert [price(shop, 1, placed=day(m, 1)) for m in (1, 11, 12)] == [1000, 1000, 1050]


def test_the_same_price_again_changes_nothing(shop: Mill) -> None:
    kept = shop.query("SELECT * FROM prices ORDER BY from_quantity, valid_from")
    past = shop.query("SELECT * FROM past_prices")
    with shop.database.transaction() as tx:
        again = [("EUR", ListPrice(1050)), ("EUR", ListPrice(700, **SALE))]
        catalogue.put(tx, [ProductIn(MUG, "Mug", True, False, {}, special=again)])

    assert shop.query("SELECT * FROM prices ORDER BY from_quantity, valid_from") == kept
    assert shop.query("SELECT * FROM past_prices") == past
    assert [row.amount for row in past] == [1000]


def test_what_is_priced_now_reads_no_past(mill: MakeMill) -> None:
    shop = mill(serves=[]).stocked()
    with shop.database.transaction() as tx:
        tx.execute(text("UPDATE prices SET recorded_at = NULL"))
    record(shop, day(11, 10), 1050)
    shop.accept()
    shop.engine.work("validate")

    with statements_counted(shop.database) as seen:
        shop.engine.work("price")

    assert "past_prices" not in " ".join(seen)


def test_the_past_is_looked_up_once_a_batch_and_not_gone_through(shop: Mill) -> None:
    with shop.database.transaction() as tx:
        began = day(1, 1)
        tx.execute(
            text(
                "INSERT INTO past_prices (sku, currency, customer_group, from_quantity, valid_from,"
                " replaced_at, recorded_at, amount) VALUES ('MUG-01', 'EUR', '', 1, :always, :until,"
                " :since, 999)"
            ),
            [
                {
                    "always": stored(shop.database, catalogue.ALWAYS),
                    "since": stored(shop.database, began.replace(minute=n // 60, second=n % 60)),
                    "until": stored(
                        shop.database, began.replace(minute=(n + 1) // 60, second=(n + 1) % 60)
                    ),
                }
                for n in range(2_000)
            ],
        )
    wanted = [(MUG, "EUR", day(11, d)) for d in (1, 2, 3)]

    with shop.database.snapshot() as tx, executed(shop.database) as seen:
        book = catalogue.price_book(tx, wanted)

    assert [len(book.on_record((MUG, "EUR"), at)) for *_, at in wanted] == [3, 3, 3]
    asked = [each for each in seen if "prices" in each[0]]
    assert len(asked) == 2
    statement, values = asked[1]
    plan = explained(shop.database, statement, values)
    assert "pk_past_prices" in plan or "sqlite_autoindex_past_prices_1" in plan
    assert not any(f"{scan} past_prices" in plan for scan in ("Seq Scan on", "SCAN")), plan


@contextmanager
def executed(database: Database) -> Iterator[list[tuple[str, Any]]]:
    """The statements that are sent, each with its values."""
    seen: list[tuple[str, Any]] = []

    def keep(_c: Any, _cursor: Any, statement: str, values: Any, *_: Any) -> None:
        seen.append((statement, values))

    event.listen(database.engine, "before_cursor_execute", keep)
    yield seen
    event.remove(database.engine, "before_cursor_execute", keep)


def explained(database: Database, statement: str, values: Any) -> str:
    """How the database goes about it."""
    how = "EXPLAIN QUERY PLAN" if database.is_sqlite else "EXPLAIN"
    with database.transaction() as tx:
        if not database.is_sqlite:
            tx.exec_driver_sql("ANALYZE past_prices")
        return "\n".join(str(row) for row in tx.exec_driver_sql(f"{how} {statement}", values))
