"""What must hold when it is over: nothing lost, nothing twice, nobody blamed, the books right."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping

from sqlalchemy import select, text

from pipeline.audit.audit import audit
from pipeline.payments.gateway import Gateway
from pipeline.storage.database import Database
from pipeline.storage.tables import orders, payment_operations

#: Of the orders, by the methods, the gateway's rate, the scarce product and the scarce coupon:
#: 2 % + 2 % + up to 4 % + about 2 %.
PLAUSIBLE_REFUSALS = (0.01, 0.15)


def statuses(database: Database) -> Counter[str]:
    """How many orders are in each status."""
    with database.snapshot() as tx:
        found = tx.execute(text("SELECT status, count(*) FROM orders GROUP BY status"))
        return Counter({row[0]: row[1] for row in found})


def unsettled(database: Database) -> int:
    with database.snapshot() as tx:
        query = text("SELECT count(*) FROM orders WHERE settled_at IS NULL")
        return int(tx.execute(query).scalar_one())


def problems(
    database: Database, gateways: Mapping[str, Gateway], receipts: Mapping[str, int]
) -> list[str]:
    """Everything that is not as it must be, in words."""
    return [
        *_lost(database, receipts),
        *_held(database),
        *_charged_wrongly(database, gateways["sandbox"]),
        *_implausible(statuses(database)),
        *_audited(database, gateways),
    ]


def _lost(database: Database, receipts: Mapping[str, int]) -> Iterator[str]:
    with database.snapshot() as tx:
        stored = {
            r.external_id: r.id for r in tx.execute(select(orders.c.external_id, orders.c.id))
        }
    if stored != receipts:
        yield f"receipts and orders differ: {set(receipts.items()) ^ set(stored.items())}"
    if n := unsettled(database):
        yield f"{n} orders were accepted and are not settled"


def _held(database: Database) -> Iterator[str]:
    """No order of ours is poison: whoever holds one has blamed an innocent."""
    query = select(orders.c.id, orders.c.stage, orders.c.reason).where(orders.c.status == "on_hold")
    with database.snapshot() as tx:
        for row in tx.execute(query):
            yield f"order {row.id} is on hold at {row.stage}: {row.reason}"


def _charged_wrongly(database: Database, gateway: Gateway) -> Iterator[str]:
    """By the gateway's own book, and no other: its keys are ours, so each names an order."""
    ops = payment_operations
    with database.snapshot() as tx:
        order_of = {r.key: r.order_id for r in tx.execute(select(ops.c.key, ops.c.order_id))}
        status_of = {r.id: r.status for r in tx.execute(select(orders.c.id, orders.c.status))}
    net = Counter[int]()
    for entry in gateway.book():
        if entry.key not in order_of:
            yield f"the gateway's book has {entry.kind} {entry.key}, and we don't"
        elif entry.kind in ("capture", "refund"):
            net[order_of[entry.key]] += 1 if entry.kind == "capture" else -1
    for order_id, status in status_of.items():
        if net[order_id] != (status == "confirmed"):
            yield f"order {order_id} is {status} and was charged {net[order_id]} times"


def _implausible(found: Counter[str]) -> Iterator[str]:
    refused = (found["rejected"] + found["cancelled"]) / max(1, found.total())
    low, high = PLAUSIBLE_REFUSALS
    if not low <= refused <= high:
        yield f"{refused:.1%} of the orders were refused"


def _audited(database: Database, gateways: Mapping[str, Gateway]) -> Iterator[str]:
    for finding in audit(database, gateways).findings:
        yield f"audit: {finding.rule}: {finding.what}"
