"""Kill -9 at every statement, commit and gateway call of taking money, of giving it back, and of
hearing what became of it elsewhere.

One order and one process for each point: it dies there. Then the leases of the dead run out, and
another goes on undisturbed. What must come of it is always the same, by our rows and by the
gateway's own book.
"""

from __future__ import annotations

import base64
import json
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, select, update

from pipeline import operations
from pipeline.audit.audit import audit
from pipeline.chain import STEPS
from pipeline.engine.engine import Limits
from pipeline.payments.gateway import Answer, Call, Unavailable
from pipeline.payments.reconcile import differences, reconcile
from pipeline.payments.sandbox import SandboxGateway
from pipeline.source import Policy
from pipeline.storage import dispatches as storage
from pipeline.storage.database import Database
from pipeline.storage.dispatches import NewDispatch
from pipeline.storage.sql import now
from pipeline.storage.tables import dispatches, orders, payment_tasks
from pipeline.storage.tables import payment_operations as ops
from tests.payments.dying import Points, WatchedGateway, die_at, points_of, without_syncing
from tests.support import Mill, an_order

TOTAL, PART = 2000, 500
AT_ONCE, LATER = Policy(), Policy(capture="later")
DAY = 86_400.0
ROUNDS = 20
LONG_AGO = datetime(2000, 1, 1, tzinfo=UTC)
SECRET = "whsec_" + base64.b64encode(b"everyone's in this test").decode()
Booked = dict[tuple[str, int], int]


class NoCaptures(SandboxGateway):
    """It authorizes, and is away when the money is to be captured."""

    def perform(self, call: Call) -> Answer:
        return Unavailable("away") if call.kind == "capture" else super().perform(call)


@dataclass
class Shop:
    """A database and a gateway's book, and whoever works on them; the test's own `hand` in it."""

    database: Database
    hand: Database
    book: Path
    policy: Policy

    def gateway(self) -> SandboxGateway:
        return SandboxGateway(self.book, secret=SECRET)

    def mill(
        self, gateway: Any = None, serves: Sequence[str] = STEPS, points: Points | None = None
    ) -> Mill:
        """Someone new who works on it; what he does from now on is counted in `points`."""
        gateway = gateway or self.gateway()
        mill = Mill(
            self.database,
            gateway=WatchedGateway(gateway, points) if points else gateway,  # type: ignore[arg-type]
            policy=self.policy,
            serves=serves,
            limits=Limits(lease_seconds=DAY),
        )
        if points:
            points.watch(self.database)
        return mill

    def accept(self, mill: Mill, count: int, **changes: Any) -> list[int]:
        receipts = mill.intake.accept_all(mill.source, [an_order(**changes) for _ in range(count)])
        return [receipt.order_id for receipt in receipts if receipt.order_id is not None]

    def part(self) -> None:
        """Give each order a dispatch of its own, to be worked on when `release` says so."""
        with self.hand.transaction() as tx:
            found = tx.execute(select(dispatches)).all()
            storage.remove(tx, [d.id for d in found])
            storage.add(
                tx,
                [
                    NewDispatch(d.step, d.lane, (order,), DAY, d.attempts)
                    for d in found
                    for order in json.loads(d.order_ids)
                ],
            )

    def release(self, order: int) -> None:
        """Let the order's time come."""
        self._due(now(), dispatches.c.order_ids == f"[{order}]")

    def put_aside(self) -> None:
        """Let nobody come for what is there just now."""
        self._due(now(DAY), dispatches.c.due_at < now(DAY / 2))

    def bury(self) -> None:
        """The leases of all who died run out, and the time of all they left has come."""
        with self.hand.transaction() as tx:
            tx.execute(update(dispatches).values(due_at=now()))
            leased = dispatches.c.lease.is_not(None)
            tx.execute(update(dispatches).where(leased).values(leased_until=now(-1)))
            tx.execute(update(payment_tasks).values(due_at=now()))

    def _due(self, at: Any, *where: Any) -> None:
        with self.hand.transaction() as tx:
            tx.execute(update(dispatches).where(*where).values(due_at=at))


@dataclass(frozen=True)
class Life:
    """A part of an order's life: `prepare` brings so many orders to its beginning, `live` is what
    the process dies of; `again` is what whoever asked for it does who hears of the death. `status`
    and `booked` ((kind, amount) → times) are what must come of it, under `policy`."""

    prepare: Callable[[Shop, int], list[int]]
    live: Callable[[Mill, int], object]
    status: str
    booked: Booked
    again: Callable[[Mill, int], object] = lambda mill, order: None
    policy: Policy = AT_ONCE


def priced(method: str) -> Callable[[Shop, int], list[int]]:
    """Orders about to be paid."""

    def prepare(shop: Shop, count: int) -> list[int]:
        mill = shop.mill(serves=["validate", "price"])
        made = shop.accept(mill, count, method=method)
        mill.engine.work("validate")
        return made

    return prepare


def unanswered(shop: Shop, count: int) -> list[int]:
    """Orders that the gateway was asked to authorize: it did, and the answer was lost."""
    mill = shop.mill()
    made = shop.accept(mill, count, method="pm_timeout_after")
    mill.engine.work("validate")
    return made


def authorized(shop: Shop, count: int) -> list[int]:
    """Orders that are authorized, but whose money could not be captured."""
    mill = shop.mill(NoCaptures(shop.book))
    made = shop.accept(mill, count)
    mill.engine.work("validate")
    return made


def confirmed(shop: Shop, count: int) -> list[int]:
    mill = shop.mill()
    made = shop.accept(mill, count)
    mill.engine.work("validate")
    until(lambda: are(mill, made, "confirmed"), mill, lambda: mill.engine.work("pay"))
    return made


def until(are_ready: Callable[[], bool], mill: Mill, work: Callable[[], object]) -> None:
    """What a busy gateway doesn't answer in time is looked up in a later round."""
    for _ in range(ROUNDS):
        if are_ready():
            return
        mill.make_due()
        work()
    assert are_ready()


def are(mill: Mill, made: list[int], status: str) -> bool:
    return {mill.status(order) for order in made} == {status}


def pay(mill: Mill, order: int) -> None:
    assert mill.engine.work("pay") == 1


def cancel(mill: Mill, order: int) -> None:
    with mill.database.transaction() as tx:
        operations.cancel(tx, order, "ada")


def cancel_and_undo(mill: Mill, order: int) -> None:
    cancel(mill, order)
    for step in ("pay", "undo_reserve", "undo_pay", "undo_pay"):
        mill.engine.work(step)


def refund(mill: Mill, order: int) -> None:
    """Part of a confirmed order's money is given back, at a person's word."""
    with mill.database.transaction() as tx:
        operation = operations.refund(tx, order, "ada", amount=PART)
    mill.payment_tasks.run([(operation.order_id, operation.key)])


def refund_unless_asked_for(mill: Mill, order: int) -> None:
    if "refund_requested" not in mill.timeline(order):
        refund(mill, order)


def capture(mill: Mill, order: int) -> None:
    with mill.database.transaction() as tx:
        operation = operations.capture(tx, order, "ada")
    mill.payment_tasks.run([(operation.order_id, operation.key)])


def capture_unless_asked_for(mill: Mill, order: int) -> None:
    if "capture_requested" not in mill.timeline(order):
        capture(mill, order)


def acting(shop: Shop, count: int) -> list[int]:
    """Orders whose customers must act before they can be paid."""
    mill = shop.mill()
    made = shop.accept(mill, count, method="pm_requires_action")
    mill.engine.work("validate")
    until(lambda: answered(mill.database, made), mill, lambda: mill.engine.work("pay"))
    return made


def expired(shop: Shop, count: int) -> list[int]:
    """Orders whose customers have let the time for it pass."""
    made = acting(shop, count)
    with shop.database.transaction() as tx:
        tx.execute(update(ops).where(ops.c.order_id.in_(made)).values(at=now(-DAY)))
    return made


def acted(shop: Shop, count: int) -> list[int]:
    """Orders whose customers have acted: the gateway knows, and we will be told."""
    made = acting(shop, count)
    for order in made:
        shop.gateway().confirm(reference(shop.database, order))
    return made


def expire(mill: Mill, order: int) -> None:
    for step in ("pay", "undo_pay", "undo_pay"):
        mill.engine.work(step)


def hear(mill: Mill, order: int) -> None:
    """The gateway's last event about the order comes in, and what was waiting for it goes on."""
    about = reference(mill.database, order)
    gateway: Any = mill.gateway
    event = [e for e in gateway.events(LONG_AGO) if e.reference == about][-1]
    mill.gateway_events.receive("sandbox", *gateway.sign(event))
    for step in ("pay", "reserve", "notify"):
        mill.engine.work(step)


def refunded_there(shop: Shop, count: int) -> list[int]:
    """Orders of which part was refunded from the gateway's own console."""
    made = confirmed(shop, count)
    for order in made:
        shop.gateway().refund_at_gateway(reference(shop.database, order), PART)
    return made


def paid_late(shop: Shop, count: int) -> list[int]:
    """Orders that expired, and whose money arrived after all."""
    mill, made = shop.mill(), expired(shop, count)
    until(lambda: are(mill, made, "cancelled"), mill, lambda: expire(mill, made[0]))
    for order in made:
        shop.gateway().pay_late(reference(shop.database, order))
    return made


NAMED = (ops.c.kind == "authorize") & ops.c.reference.is_not(None)


def answered(database: Database, made: list[int]) -> bool:
    """Whether the gateway has told its name for the authorization of each."""
    with database.snapshot() as tx:
        named = set(tx.execute(select(ops.c.order_id).where(NAMED)).scalars())
    return named >= set(made)


def reference(database: Database, order: int) -> str:
    """The gateway's name for the order's authorization."""
    with database.snapshot() as tx:
        its = (ops.c.order_id == order) & NAMED
        return str(tx.execute(select(ops.c.reference).where(its).limit(1)).scalar_one())


TAKEN: Booked = {("authorize", TOTAL): 1, ("capture", TOTAL): 1}
REFUNDED: Booked = {**TAKEN, ("refund", TOTAL): 1}
IN_PART: Booked = {**TAKEN, ("refund", PART): 1}
VOIDED: Booked = {("authorize", TOTAL): 1, ("void", TOTAL): 1}
LIVES = {
    "pay": Life(priced("pm_card_visa"), pay, "confirmed", TAKEN),
    "pay: declined": Life(priced("pm_card_declined"), pay, "rejected", {}),
    "pay: the answer is lost": Life(priced("pm_timeout_after"), pay, "confirmed", TAKEN),
    "pay: the answer was lost": Life(unanswered, pay, "confirmed", TAKEN),
    "pay: the customer has acted": Life(acted, hear, "confirmed", TAKEN),
    "pay: too late": Life(expired, expire, "cancelled", {("void", TOTAL): 1}),
    "capture, later": Life(confirmed, capture, "confirmed", TAKEN, capture_unless_asked_for, LATER),
    "cancel: refund": Life(confirmed, cancel_and_undo, "cancelled", REFUNDED, cancel),
    "cancel: void": Life(authorized, cancel_and_undo, "cancelled", VOIDED, cancel),
    "refund": Life(confirmed, refund, "confirmed", IN_PART, refund_unless_asked_for),
    "hear of a refund": Life(refunded_there, hear, "confirmed", IN_PART),
    "hear of late money": Life(paid_late, hear, "confirmed", {**TAKEN, ("void", TOTAL): 1}),
}


@pytest.mark.parametrize("name", LIVES)
def test_whoever_dies_wherever_the_money_is_moved_once(
    name: str, database: Database, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    life, hand = LIVES[name], Database(database.url.render_as_string(hide_password=False))
    for each in (database, hand):
        without_syncing(each)
    shop = Shop(database, hand, tmp_path / "book.db", life.policy)
    shop.mill().stocked(units=10_000)
    points = points_of_one(shop, life, tmp_path)

    died_at = dict(zip(made_ready(shop, life, len(points)), points, strict=True))
    survivors = [
        f"nobody died {point}"
        for number, (order, point) in enumerate(died_at.items(), start=1)
        if not one_dies(shop, life, order, number)
    ]
    survivor = shop.mill()
    for order in died_at:
        life.again(survivor, order)
    shop.bury()
    survivor.turn()
    survivor.payment_tasks.run()
    survivor.gateway_events.poll()
    survivor.turn()

    with capsys.disabled():
        print(f"\n{name} on {database.url.get_backend_name()}: {len(points)} points", end="")
    assert any("gateway's" in point for point in points)
    found = survivors + list(wrong(shop, life, died_at))
    hand.close()
    assert found == []


def points_of_one(shop: Shop, life: Life, scratch: Path) -> list[str]:
    """The points of an undisturbed life. Another goes before, in this process: each statement is
    compiled once, here, and not in each child."""
    warm, counted = made_ready(shop, life, 2)
    shop.release(warm)
    life.live(shop.mill(), warm)
    shop.put_aside()
    shop.release(counted)
    return points_of(
        shop.database, shop.hand, scratch, lambda points: live(shop, life, counted, points)
    )


def made_ready(shop: Shop, life: Life, count: int) -> list[int]:
    """So many orders at the beginning of `life`; whatever else there is, is put aside."""
    shop.put_aside()
    made = life.prepare(shop, count)
    shop.part()
    return made


def one_dies(shop: Shop, life: Life, order: int, number: int) -> bool:
    shop.release(order)
    died = die_at(shop.database, shop.hand, number, lambda points: live(shop, life, order, points))
    shop.put_aside()
    return died


def live(shop: Shop, life: Life, order: int, points: Points) -> None:
    life.live(shop.mill(points=points), order)


def wrong(shop: Shop, life: Life, died_at: dict[int, str]) -> Iterator[str]:
    """All that is not as it must be, in words."""
    gateway = shop.gateway()
    with shop.database.snapshot() as tx:
        status_of = {r.id: r.status for r in tx.execute(select(orders.c.id, orders.c.status))}
        order_of = {r.key: r.order_id for r in tx.execute(select(ops.c.key, ops.c.order_id))}
        left = tx.execute(select(func.count()).select_from(dispatches)).scalar_one()
    booked: defaultdict[int | None, Counter[tuple[str, int]]] = defaultdict(Counter)
    for entry in gateway.book():
        booked[order_of.get(entry.key)][entry.kind, entry.amount] += 1
    if unknown := booked.pop(None, None):
        yield f"of what is in the gateway's book we know nothing of {dict(unknown)}"
    for order, point in died_at.items():
        if status_of[order] != life.status:
            yield f"killed {point}: order {order} is {status_of[order]}"
        if booked[order] != Counter(life.booked):
            yield f"killed {point}: of order {order} the gateway has {dict(booked[order])}"
    for finding in audit(shop.database, {gateway.name: gateway}).findings:
        yield f"killed {died_at.get(finding.order_id or 0)}: {finding.rule}: {finding.what}"
    found = reconcile(shop.database, gateway, LONG_AGO, datetime.now(UTC), under_way=timedelta(0))
    for difference in differences(shop.database, found):
        yield f"killed {died_at.get(difference.order_id or 0)}: {difference.sentence}"
    if left:
        yield f"{left} dispatches are left"
