"""What the tests of payments share: a sandbox to tell what to do, and what it then says we hold."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import update

from pipeline import operations
from pipeline.audit.audit import audit
from pipeline.chain import CAPTURE_FIRST
from pipeline.payments.account import Operation, fold, latest_of
from pipeline.payments.gateway import Answer, Call, GatewayEvent, Kind, Payment, Unknown
from pipeline.payments.sandbox import SandboxGateway
from pipeline.storage import payments
from pipeline.storage.sql import now
from pipeline.storage.tables import payment_operations, payment_tasks
from tests.support import Mill

MakeMill = Callable[..., Mill]

#: Where an order waits for its payment, in the chain that pays first.
UNPAID = CAPTURE_FIRST.link("pay").source


class Gateway(SandboxGateway):
    """A sandbox that answers what it is told to, does so before it is asked or loses its answer,
    and keeps what it was asked."""

    def __init__(self) -> None:
        super().__init__(None)
        self.refuses: dict[Kind, Answer] = {}
        self.loses: set[Kind] = set()  # done, and then no answer, once
        self.before: Callable[[Call], object] = lambda _: None
        self.asked: list[Call] = []
        self.is_away = False

    def perform(self, call: Call) -> Answer:
        self.asked.append(call)
        self.before(call)
        if call.kind in self.refuses:
            return self.refuses[call.kind]
        answer = super().perform(call)
        if call.kind in self.loses:
            self.loses.discard(call.kind)
            return Unknown("time-out")
        return answer

    def find(self, call: Call) -> Answer | None:
        return Unknown("time-out") if self.is_away else super().find(call)

    def read(self, reference: str) -> Payment | None | Unknown:
        return Unknown("time-out") if self.is_away else super().read(reference)

    def kinds(self) -> list[Kind]:
        """What was asked, in order."""
        return [call.kind for call in self.asked]


def booked(shop: Mill) -> Counter[str]:
    """The amounts in the gateway's own book, by kind."""
    found = Counter[str]()
    for entry in shop.gateway.book():
        found[entry.kind] += entry.amount
    return found


def held(shop: Mill) -> int:
    """What the gateway says we have, or have reserved, of one customer's money."""
    by_kind = booked(shop)
    authorized = 0 if by_kind["capture"] or by_kind["void"] else by_kind["authorize"]
    return authorized + by_kind["capture"] - by_kind["refund"] - by_kind["dispute"]


def written(shop: Mill, order: int) -> list[Operation]:
    with shop.database.snapshot() as tx:
        return payments.read(tx, [order])[order]


def stand(shop: Mill, order: int) -> list[tuple[str, str, int]]:
    """Its operations as they stand: (kind, state, amount)."""
    return [(op.kind, op.state, op.amount) for op in latest_of(written(shop, order))]


def status(shop: Mill, order: int) -> str:
    return fold(written(shop, order)).status


def reference(shop: Mill, order: int) -> str:
    """The gateway's name for its payment."""
    found = [op.reference for op in written(shop, order) if op.kind == "authorize" and op.reference]
    assert found[0] is not None
    return found[0]


def where(shop: Mill, order: int) -> tuple[str, str | None]:
    row = shop.row(order)
    return row.status, row.reason


def act(shop: Mill, action: Callable[..., Any], *arguments: Any, **options: Any) -> Any:
    """Do an operation in a transaction, as ada, and announce what it says."""
    with shop.database.transaction() as tx:
        done = action(tx, *arguments, actor="ada", **options)
    if isinstance(done, list):
        shop.engine.announce(done)
    return done


def cancel(shop: Mill, order: int) -> None:
    act(shop, operations.cancel, order)


def as_if_later(shop: Mill, order: int, seconds: float) -> None:
    """As if what was written of its payment had been written so long ago."""
    with shop.database.transaction() as tx:
        tx.execute(
            update(payment_operations)
            .where(payment_operations.c.order_id == order)
            .values(at=now(-seconds))
        )


def make_tasks_due(shop: Mill) -> None:
    with shop.database.transaction() as tx:
        tx.execute(update(payment_tasks).values(due_at=now()))


def tell(shop: Mill, event: GatewayEvent) -> None:
    """The gateway sends us an event."""
    assert isinstance(shop.gateway, SandboxGateway)
    shop.gateway_events.receive("sandbox", *shop.gateway.sign(event))


def events(shop: Mill) -> list[GatewayEvent]:
    """All that the gateway would have sent, oldest first."""
    return list(shop.gateway.events(datetime(2020, 1, 1, tzinfo=UTC)))


def findings(shop: Mill) -> list[str]:
    """What the audit finds."""
    return [f"{f.rule}: {f.what}" for f in audit(shop.database, shop.gateways).findings]


def pages(shop: Mill) -> Iterator[str]:
    """What persons were called for."""
    for row in shop.query("SELECT topic FROM notifications WHERE channel = 'page' ORDER BY topic"):
        yield row.topic
