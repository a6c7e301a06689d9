"""After a week of trade our books are the gateway's, to the minor unit; and a cent that isn't is
found, and named with its order."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select, text, update

from pipeline.audit.audit import audit
from pipeline.errors import InvalidInput
from pipeline.payments.account import Account, fold
from pipeline.payments.gateway import BookEntry
from pipeline.payments.reconcile import Difference, Reconciled, differences, reconcile
from pipeline.payments.settlement import Figure, Settlement, settle
from pipeline.storage import payments
from pipeline.storage.database import Database
from pipeline.storage.tables import payment_operations as ops
from tests.payments.week import CURRENCIES, Week, trade

SCHEMA = "week"
KINDS = {"capture": "captured", "refund": "refunded", "dispute": "disputes lost"}


@pytest.fixture(scope="module", params=["sqlite", "postgres"])
def week(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Week]:
    """A week, traded once; who alters it puts it back."""
    if request.param == "sqlite":
        with _opened(_on_sqlite(tmp_path_factory.mktemp("week"))) as database:
            yield trade(database)
        return
    url = request.getfixturevalue("postgres_url")
    with _opened(f"{url}{'&' if '?' in url else '?'}options=-csearch_path%3D{SCHEMA}") as database:
        yield trade(database)
        with database.transaction() as tx:
            tx.execute(text(f"DROP SCHEMA {SCHEMA} CASCADE"))


def _on_sqlite(folder: Path) -> str:
    return f"sqlite:///{folder / 'week.db'}"


@contextmanager
def _opened(url: str) -> Iterator[Database]:
    database = Database(url)
    if not database.is_sqlite:
        with database.transaction() as tx:
            tx.execute(text(f"DROP SCHEMA IF EXISTS {SCHEMA} CASCADE"))
            tx.execute(text(f"CREATE SCHEMA {SCHEMA}"))
    database.upgrade()
    yield database
    database.close()


@pytest.fixture
def alter(week: Week) -> Iterator[Callable[..., None]]:
    """Changes our row that says an operation was done, until the test is over."""
    put_back: list[tuple[dict[str, Any], dict[str, Any]]] = []

    def change(done: BookEntry, **changes: Any) -> None:
        was = {"key": done.key, "state": "succeeded"}
        with week.mill.database.transaction() as tx:
            former = tx.execute(select(ops).filter_by(**was)).one()._mapping
            tx.execute(update(ops).filter_by(**was).values(**changes))
        put_back.append(({**was, **changes}, {name: former[name] for name in changes}))

    yield change
    with week.mill.database.transaction() as tx:
        for now, former in put_back:
            tx.execute(update(ops).filter_by(**now).values(**former))


@pytest.fixture
def falsify(week: Week) -> Iterator[Callable[[Callable[[BookEntry], list[BookEntry]]], None]]:
    """Has the gateway tell its book otherwise, until the test is over."""

    def falsify(how: Callable[[BookEntry], list[BookEntry]]) -> None:
        week.gateway.falsify = how

    yield falsify
    week.gateway.falsify = lambda entry: [entry]


def reconciled(week: Week) -> Reconciled:
    return reconcile(week.mill.database, week.gateway, week.begins, week.ends)


def found(week: Week) -> list[Difference]:
    return list(differences(week.mill.database, reconciled(week)))


def settled(week: Week, since: datetime | None = None, until: datetime | None = None) -> Settlement:
    window = since or week.begins, until or week.ends
    return settle(week.mill.database, week.mill.gateways, *window)


def figures(settlement: Settlement) -> dict[tuple[str, str, str], Figure]:
    """By gateway, currency and name."""
    return {(a.gateway, a.currency, f.name): f for a in settlement.accounts for f in a.figures}


def one(week: Week, kind: str) -> BookEntry:
    """A line of the gateway's book, in the middle of the week."""
    entries = [entry for entry in week.gateway.book() if entry.kind == kind]
    return entries[len(entries) // 2]


def order_of(week: Week, entry: BookEntry) -> int:
    query = "SELECT DISTINCT order_id FROM payment_operations WHERE key = :key"
    (row,) = week.mill.query(query, key=entry.key)
    return int(row.order_id)


def accounts(week: Week) -> dict[int, Account]:
    with week.mill.database.snapshot() as tx:
        return {i: fold(rows) for i, rows in payments.read(tx, week.orders).items()}


# --- The week -------------------------------------------------------------------------------------


def test_the_week_had_everything(week: Week) -> None:
    operations = {
        (r.gateway, r.kind, r.state)
        for r in week.mill.query("SELECT gateway, kind, state FROM payment_operations")
    }
    statuses = {r.status for r in week.mill.query("SELECT status FROM orders")}
    lines = Counter(entry.kind for entry in week.gateway.book())

    assert len(week.orders) > 300
    assert {entry.currency for entry in week.gateway.book()} == set(CURRENCIES)
    assert {"confirmed", "cancelled", "rejected"} <= statuses
    assert {
        ("sandbox", "authorize", "failed"),
        ("sandbox", "authorize", "unknown"),
        ("sandbox", "authorize", "pending"),
        ("sandbox", "dispute", "failed"),
        ("sandbox", "dispute", "succeeded"),
        ("manual", "capture", "succeeded"),
    } <= operations
    assert min(lines[kind] for kind in ("capture", "refund", "void", "dispute")) > 0


def test_the_audit_finds_nothing(week: Week) -> None:
    assert audit(week.mill.database, week.mill.gateways).findings == []


# --- Settlement -----------------------------------------------------------------------------------


def test_the_weeks_settlement_is_the_gateways_list_to_the_minor_unit(week: Week) -> None:
    listed: Counter[tuple[str, str]] = Counter()
    numbers: Counter[tuple[str, str]] = Counter()
    for entry in week.gateway.book():
        listed[entry.currency, entry.kind] += entry.amount
        numbers[entry.currency, entry.kind] += 1

    told = figures(settled(week))

    for currency in set(CURRENCIES):
        for kind, name in KINDS.items():
            figure = told["sandbox", currency, name]
            assert figure.ours.amount == listed[currency, kind], (currency, name)
            assert figure.ours.count == numbers[currency, kind], (currency, name)
            assert (figure.difference, figure.at_edges) == (0, 0), (currency, name)


def test_fees_and_net_are_of_the_gateways_list(week: Week) -> None:
    fees: Counter[str] = Counter()
    net: Counter[str] = Counter()
    for entry in week.gateway.book():
        fees[entry.currency] += entry.fee or 0
        net[entry.currency] += {"capture": 1, "refund": -1, "dispute": -1}.get(entry.kind, 0) * (
            entry.amount
        )

    told = {a.currency: a for a in settled(week).accounts if a.gateway == "sandbox"}

    assert {currency: a.fees for currency, a in told.items()} == fees
    assert {c: a.net.ours.amount for c, a in told.items()} == {c: net[c] - fees[c] for c in net}


def test_the_days_add_up_to_the_week(week: Week) -> None:
    summed: Counter[tuple[str, str, str]] = Counter()
    moved = set(KINDS.values())

    for day in week.days:
        for key, figure in figures(settled(week, *day)).items():
            summed[key] += figure.ours.amount

    of_week = {k: f.ours.amount for k, f in figures(settled(week)).items() if k[2] in moved}
    assert {k: n for k, n in summed.items() if k[2] in moved} == of_week


def test_of_a_day_only_what_was_done_on_another_differs(week: Week) -> None:
    """A lost dispute stands on the gateway's list where it was opened; we knew when it was lost."""
    days = [settled(week, *day) for day in week.days]

    assert all(day.is_explained for day in days)
    assert {
        name
        for day in days
        for (_, _, name), figure in figures(day).items()
        if figure.difference
    } == {"disputes lost", "net"}  # fmt: skip


def test_what_stands_open_is_told(week: Week) -> None:
    authorized: Counter[tuple[str, str]] = Counter()
    disputed: Counter[tuple[str, str]] = Counter()
    for account in accounts(week).values():
        standing = account.authorization
        if standing is None:
            continue
        key = standing.gateway, standing.currency
        if not account.captured and not account.voided:
            authorized[key] += standing.amount
        disputed[key] += account.disputed - account.lost

    told = figures(settled(week))

    assert {k[:2]: f.ours.amount for k, f in told.items() if k[2] == "disputes open"} == {
        k[:2]: disputed[k[:2]] for k in told
    }
    for (gateway, currency, name), figure in told.items():
        if name in ("authorized, open", "invoices open"):
            assert figure.ours.amount == authorized[gateway, currency]
            assert (name == "invoices open") == (gateway == "manual")
    assert sum(authorized.values()) > 0
    assert sum(disputed.values()) > 0


def test_a_cent_in_our_rows_shows_in_the_settlement(week: Week, alter: Callable[..., None]) -> None:
    capture = one(week, "capture")

    alter(capture, amount=capture.amount + 1)

    settlement = settled(week)
    assert figures(settlement)["sandbox", capture.currency, "captured"].unexplained == 1
    assert not settlement.is_explained


# --- Reconciliation -------------------------------------------------------------------------------


def test_the_week_and_each_of_its_days_reconcile(week: Week) -> None:
    whole = reconciled(week)
    days = [reconcile(week.mill.database, week.gateway, *day) for day in week.days]

    assert whole.differences == {}
    assert [day.differences for day in days] == [{}] * len(days)
    assert whole.lines == sum(day.lines for day in days) == len(list(week.gateway.book()))
    assert whole.operations == sum(day.operations for day in days)


@pytest.mark.parametrize("kind", ["authorize", "capture", "refund", "dispute"])
def test_a_cent_too_much_in_our_rows_is_found_and_named_with_its_order(
    week: Week, alter: Callable[..., None], kind: str
) -> None:
    entry = one(week, kind)

    alter(entry, amount=entry.amount + 1)

    [difference] = found(week)
    assert (difference.kind, difference.order_id) == ("amount", order_of(week, entry))
    assert difference.key == entry.key


@pytest.mark.parametrize("kind", ["authorize", "capture", "refund", "dispute"])
def test_a_cent_too_little_in_the_gateways_book_is_found_and_named_with_its_order(
    week: Week, falsify: Callable[..., None], kind: str
) -> None:
    its = one(week, kind)

    falsify(lambda e: [replace(e, amount=e.amount - 1) if e.key == its.key else e])

    [difference] = found(week)
    assert (difference.kind, difference.order_id) == ("amount", order_of(week, its))
    assert difference.ours != difference.theirs


@pytest.mark.parametrize("kind", ["capture", "refund", "void", "dispute"])
def test_what_is_missing_there_is_found_and_named_with_its_order(
    week: Week, falsify: Callable[..., None], kind: str
) -> None:
    its = one(week, kind)

    falsify(lambda e: [] if e.key == its.key else [e])

    [difference] = found(week)
    assert (difference.kind, difference.order_id) == ("missing_there", order_of(week, its))
    assert difference.theirs == "nothing"


@pytest.mark.parametrize("kind", ["capture", "refund", "void", "dispute"])
def test_what_is_missing_here_is_found_and_named_with_its_order(
    week: Week, falsify: Callable[..., None], kind: str
) -> None:
    its, order = one(week, kind), order_of(week, one(week, kind))
    more = replace(its, key="re_unknown", reference="re_unknown")

    falsify(lambda e: [e, more] if e.key == its.key else [e])

    [difference] = found(week)
    assert (difference.kind, difference.key) == ("missing_here", "re_unknown")
    assert (difference.order_id, difference.ours) == (order, "nothing")


def test_a_line_that_is_no_orders_of_ours_is_missing_here(
    week: Week, falsify: Callable[..., None]
) -> None:
    its = one(week, "capture")
    strange = replace(its, key="ch_x", reference="ch_x", parent="pi_x", currency="eur")

    falsify(lambda e: [e, strange] if e.key == its.key else [e])

    [difference] = found(week)
    assert (difference.kind, difference.order_id) == ("missing_here", None)
    assert "no order of ours: missing here: here nothing, at sandbox capture" in difference.sentence


def test_a_line_listed_twice_is_one_too_many(week: Week, falsify: Callable[..., None]) -> None:
    its = one(week, "capture")

    falsify(lambda e: [e, e] if e.key == its.key else [e])

    [difference] = found(week)
    assert (difference.kind, difference.order_id) == ("missing_here", order_of(week, its))
    assert difference.theirs.endswith("listed 2 times")


def test_another_currency_is_found(week: Week, falsify: Callable[..., None]) -> None:
    its = one(week, "refund")

    falsify(lambda e: [replace(e, currency="SEK") if e.key == its.key else e])

    [difference] = found(week)
    assert (difference.kind, difference.order_id) == ("currency", order_of(week, its))


@pytest.mark.parametrize("state", ["failed", "unknown"])
def test_what_we_say_failed_or_never_heard_of_and_they_did_has_ended_differently(
    week: Week, alter: Callable[..., None], state: str
) -> None:
    its = one(week, "void")

    alter(its, state=state)

    [difference] = found(week)
    assert (difference.kind, difference.order_id) == ("ended_differently", order_of(week, its))
    assert difference.ours.endswith("failed" if state == "failed" else "without an answer")


def test_a_void_of_another_amount_is_a_void(week: Week, falsify: Callable[..., None]) -> None:
    falsify(lambda e: [replace(e, amount=1) if e.kind == "void" else e])

    assert found(week) == []


# --- At the edges ---------------------------------------------------------------------------------


def test_what_was_asked_for_before_the_window_and_answered_in_it_is_no_difference(
    week: Week, alter: Callable[..., None]
) -> None:
    """Its answer was lost, and the gateway away for days: the list has it where it was done."""
    day, answered = week.days[1], week.days[5]
    its = next(e for e in week.gateway.book(*day) if e.kind == "capture")

    alter(its, at=answered[0] + timedelta(hours=1))

    assert found(week) == []
    assert reconcile(week.mill.database, week.gateway, *day).is_clean
    assert reconcile(week.mill.database, week.gateway, *answered).is_clean
    assert [settled(week, *d).is_explained for d in (day, answered)] == [True, True]


def test_the_gateways_clock_may_go_wrong_by_minutes(
    week: Week, falsify: Callable[..., None]
) -> None:
    falsify(lambda e: [replace(e, at=e.at and e.at.replace(microsecond=0, second=0))])

    assert found(week) == []


def test_what_is_younger_than_an_hour_is_under_way_and_not_judged(week: Week) -> None:
    end_of_time = week.ends + timedelta(days=1_000)

    run = reconcile(week.mill.database, week.gateway, week.begins, end_of_time)

    assert run.until == run.read_at - timedelta(hours=1)
    with pytest.raises(InvalidInput, match="nothing to compare"):
        reconcile(week.mill.database, week.gateway, end_of_time, end_of_time + timedelta(days=1))


def test_what_the_gateway_tells_no_time_of_is_compared_all_the_same(
    week: Week, falsify: Callable[..., None]
) -> None:
    falsify(lambda e: [replace(e, at=None)])

    assert reconciled(week).lines == len(list(week.gateway.book()))
    assert found(week) == []


# --- What is kept ---------------------------------------------------------------------------------


def kept(week: Week) -> dict[int, Any]:
    rows = week.mill.query("SELECT id, key, found_at, seen_at, cleared_at FROM payment_differences")
    return {row.id: row for row in rows}


def test_a_difference_is_kept_once_and_cleared_when_it_is_gone(
    week: Week, falsify: Callable[..., None]
) -> None:
    its, before = one(week, "authorize"), kept(week)
    falsify(lambda e: [replace(e, amount=e.amount - 2) if e.key == its.key else e])

    first, second = reconciled(week), reconciled(week)
    falsify(lambda e: [e])
    third, fourth = reconciled(week), reconciled(week)

    assert [run.new for run in (first, second, third)] == [1, 0, 0]
    assert [run.cleared for run in (first, second, third, fourth)] == [0, 0, 1, 0]
    [row] = [row for i, row in kept(week).items() if i not in before]
    assert row.key == its.key
    assert row.found_at < row.seen_at < row.cleared_at


def test_a_run_clears_only_what_it_looked_at(week: Week, falsify: Callable[..., None]) -> None:
    its = one(week, "capture")
    assert its.at is not None
    falsify(lambda e: [replace(e, amount=e.amount - 3) if e.key == its.key else e])
    reconciled(week)
    falsify(lambda e: [e])
    other = next(day for day in week.days if not day[0] <= its.at < day[1])

    elsewhere = reconcile(week.mill.database, week.gateway, *other)
    there = reconciled(week)

    assert (elsewhere.cleared, there.cleared) == (0, 1)
