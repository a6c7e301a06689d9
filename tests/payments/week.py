"""A week of trade, through the real engine: a few hundred orders a day apart, in four currencies, and
all that becomes of their money.

Everything happens within seconds, and is dated back day by day: the sandbox is told another time,
and what our database wrote down in a day is moved to it in the evening.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any
from unittest.mock import patch

from sqlalchemy import bindparam, delete, select, update

from pipeline import operations
from pipeline.errors import InvalidInput, NotAllowedNow
from pipeline.payments import sandbox
from pipeline.payments.gateway import BookEntry
from pipeline.payments.sandbox import SandboxGateway
from pipeline.source import Policy, Source
from pipeline.storage import catalogue, gateway_events, stock
from pipeline.storage.database import Database
from pipeline.storage.tables import gateway_cursors
from pipeline.storage.tables import payment_operations as ops
from tests.support import MUG, POSTER, TEE, Mill, an_order

DAYS = 7
ORDERS_A_DAY = 45
PRICES = {"EUR": (1090, 2345), "USD": (1199, 2549), "JPY": (1480, 3050), "KWD": (3275, 7125)}
CURRENCIES = ("EUR", "EUR", "EUR", "USD", "USD", "JPY", "KWD")
METHODS = {
    "pm_card_visa": 60, "pm_card_declined": 7, "pm_card_insufficient_funds": 3,
    "pm_timeout_after": 8, "pm_timeout_before": 3, "pm_flaky": 4, "pm_requires_action": 10,
}  # fmt: skip


class Gateway(SandboxGateway):
    """A sandbox whose book can be falsified, line by line."""

    def __init__(self) -> None:
        super().__init__(None)
        self.falsify: Callable[[BookEntry], list[BookEntry]] = lambda entry: [entry]

    def book(
        self, since: datetime | None = None, until: datetime | None = None
    ) -> Iterator[BookEntry]:
        for entry in super().book(since, until):
            yield from self.falsify(entry)


@dataclass
class Week:
    """The week and who traded in it; `begins` at midnight UTC."""

    mill: Mill
    gateway: Gateway
    begins: datetime
    sources: dict[str, Source]
    orders: dict[int, str] = field(default_factory=dict)  # id → source
    disputes: list[str] = field(default_factory=list)

    @property
    def ends(self) -> datetime:
        return self.begins + timedelta(days=DAYS)

    @property
    def days(self) -> list[tuple[datetime, datetime]]:
        return [
            (self.begins + timedelta(days=n), self.begins + timedelta(days=n + 1))
            for n in range(DAYS)
        ]


def trade(database: Database, seed: int = 1) -> Week:
    """Trade for a week that ended yesterday."""
    chance, gateway = random.Random(seed), Gateway()
    mill = Mill(database, gateway=gateway)
    _stock(mill)
    sources = {
        "shop": mill.source,
        "later": mill.another_source("later", Policy(capture="later")),
        "invoice": mill.another_source("invoice", Policy(gateway="manual")),
    }
    today = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    week = Week(mill, gateway, today - timedelta(days=DAYS + 1), sources)
    for morning, _ in week.days:
        with _dated(week, morning + timedelta(hours=9)):
            _take_orders(week, chance)
            _act_at_the_gateway(week, chance)
            _act_here(week, chance)
            _hear_of_it(week)
    return week


def _stock(mill: Mill) -> None:
    with mill.database.transaction() as tx:
        priced = {
            sku: {currency: prices[n % 2] for currency, prices in PRICES.items()}
            for n, sku in enumerate((MUG, TEE, POSTER))
        }
        catalogue.put(
            tx,
            [
                catalogue.ProductIn(sku, sku.title(), True, False, own)
                for sku, own in priced.items()
            ],
        )
        units = {MUG: 100_000, TEE: 100_000, POSTER: 400}
        receipts = [stock.Movement(sku, "main", "receipt", n) for sku, n in units.items()]
        assert stock.post(tx, receipts, "test") == []


@contextmanager
def _dated(week: Week, at: datetime) -> Iterator[None]:
    """Whatever happens within, happens from then on."""
    began = datetime.now(UTC)
    offset = at - began
    with week.mill.database.snapshot() as tx:
        known = {tuple(r) for r in tx.execute(select(ops.c.order_id, ops.c.key, ops.c.state))}
    now = sandbox._now
    with patch.object(sandbox, "_now", lambda: now() + offset // timedelta(microseconds=1)):
        _read_events_since(week, at)
        yield
    with week.mill.database.transaction() as tx:
        rows = tx.execute(select(ops.c.order_id, ops.c.key, ops.c.state, ops.c.at)).all()
        moved = [
            {"o": r.order_id, "k": r.key, "s": r.state, "then": r.at + offset}
            for r in rows
            if (r.order_id, r.key, r.state) not in known
        ]
        is_it = (ops.c.order_id == bindparam("o")) & (ops.c.key == bindparam("k"))
        is_it &= ops.c.state == bindparam("s")
        tx.execute(update(ops).where(is_it).values(at=bindparam("then")), moved)


def _read_events_since(week: Week, at: datetime) -> None:
    with week.mill.database.transaction() as tx:
        tx.execute(delete(gateway_cursors))
        gateway_events.advance(tx, "sandbox", at)


def _take_orders(week: Week, chance: random.Random) -> None:
    for name, source in week.sources.items():
        share = {"shop": 0.75, "later": 0.17, "invoice": 0.08}[name]
        sent = [_an_order(name, chance) for _ in range(round(ORDERS_A_DAY * share))]
        for receipt in week.mill.intake.accept_all(source, sent):
            assert receipt.order_id is not None, receipt
            week.orders[receipt.order_id] = name
    _settle(week.mill)


def _an_order(source: str, chance: random.Random) -> dict[str, Any]:
    method = "invoice"
    if source != "invoice":
        (method,) = chance.choices(list(METHODS), list(METHODS.values()))
    lines = [(sku, chance.randint(1, 3)) for sku in chance.sample((MUG, TEE, POSTER), 2)]
    return an_order(currency=chance.choice(CURRENCIES), method=method, lines=lines)


def _act_at_the_gateway(week: Week, chance: random.Random) -> None:
    """What customers, banks and the people at the gateway's console do without us."""
    gateway = week.gateway
    for payment, amount in _captured(week):
        if chance.random() < 0.02:
            _try(lambda p=payment, a=amount: gateway.refund_at_gateway(p, max(1, a // 3)))
        if chance.random() < 0.03:
            _try(lambda p=payment, a=amount: week.disputes.append(gateway.dispute(p, a // 2)))
    for dispute in week.disputes:
        if chance.random() < 0.3:
            won = chance.random() < 0.4
            _try(lambda d=dispute, w=won: gateway.close_dispute(d, won=w))
    for payment in _waiting(week):
        if chance.random() < 0.6:
            _try(lambda p=payment: gateway.confirm(p))


def _captured(week: Week) -> list[tuple[str, int]]:
    query = """
        SELECT a.reference, c.amount FROM payment_operations c
        JOIN payment_operations a ON a.order_id = c.order_id AND a.state = 'succeeded'
        WHERE c.kind = 'capture' AND c.state = 'succeeded' AND c.gateway = 'sandbox'
        AND a.kind = 'authorize' ORDER BY c.order_id
    """
    return [(r.reference, r.amount) for r in week.mill.query(query)]


def _waiting(week: Week) -> list[str]:
    query = """
        SELECT reference FROM payment_operations
        WHERE state = 'pending' AND kind = 'authorize' AND gateway = 'sandbox' ORDER BY order_id
    """
    return [r.reference for r in week.mill.query(query)]


def _act_here(week: Week, chance: random.Random) -> None:
    """What people here do: refund, cancel, capture, record what came by bank."""
    mill = week.mill
    statuses = {r.id: r.status for r in mill.query("SELECT id, status FROM orders ORDER BY id")}
    for order, status in statuses.items():
        if status != "confirmed":
            continue
        drawn = chance.random()
        source = week.orders[order]
        if source == "later" and drawn < 0.5:
            _do(mill, lambda tx, o=order: operations.capture(tx, o, "ada"))
        elif source == "invoice" and drawn < 0.3:
            _do(mill, lambda tx, o=order: operations.record_payment(tx, o, "ada", f"bank-{o}"))
        elif source == "invoice" and drawn < 0.35:
            _do(mill, lambda tx, o=order: operations.record_refund(tx, o, "ada", f"back-{o}"))
        elif drawn < 0.05:
            part = chance.randint(1, 900)
            _do(mill, lambda tx, o=order, p=part: operations.refund(tx, o, "ada", amount=p))
        elif drawn < 0.07:
            _do(mill, lambda tx, o=order: operations.refund(tx, o, "ada", lines={1: 1}))
        elif drawn < 0.1:
            _do(mill, lambda tx, o=order: operations.cancel(tx, o, "ada"))
    mill.payment_tasks.run()
    _settle(mill)


def _hear_of_it(week: Week) -> None:
    week.mill.gateway_events.poll()
    _settle(week.mill)
    week.mill.payment_tasks.run()
    _settle(week.mill)


def _settle(mill: Mill) -> None:
    """Work until what is left waits for its customers (or for ever)."""
    for _ in range(5):
        mill.make_due()
        mill.turn(impatient=False)


def _do(mill: Mill, act: Callable[[Any], object]) -> None:
    with mill.database.transaction() as tx, _allowed():
        act(tx)


def _try(act: Callable[[], object]) -> None:
    with _allowed():
        act()


@contextmanager
def _allowed() -> Iterator[None]:
    """People try what can't be done any more, and are told so."""
    with suppress(InvalidInput, NotAllowedNow):
        yield
