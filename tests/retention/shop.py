"""What the tests of retention share: a shop whose orders have long been over."""

from __future__ import annotations

from datetime import timedelta

from sqlalchemy import select, update

from pipeline import fulfilment
from pipeline.fulfilment import Shipped
from pipeline.inventory.shipping import Shipment
from pipeline.retention import Due, Pace, archive_all
from pipeline.storage import clock
from pipeline.storage.sql import now
from pipeline.storage.tables import archived_orders, events, notifications, orders
from tests.support import Mill

DAY = 86_400.0
TRACKING = "00340434161094015902"


def ship(shop: Mill, *order_ids: int) -> None:
    """The goods leave, and the customer is told."""
    with shop.database.transaction() as tx:
        sent = [Shipment(i, "S-1", carrier="Post", tracking=TRACKING) for i in order_ids]
        assert all(isinstance(v, Shipped) for v in fulfilment.ship(tx, sent, "ada"))
        its = notifications.c.state == "pending"
        tx.execute(update(notifications).where(its).values(state="delivered"))


def pass_time(shop: Mill, days: float = 100.0) -> None:
    """As if all that has happened had happened so long ago."""
    with shop.database.transaction() as tx:
        tx.execute(
            update(orders)
            .where(orders.c.settled_at.is_not(None))
            .values(settled_at=now(-days * DAY))
        )
        tx.execute(update(events).values(at=now(-days * DAY)))
        tx.execute(update(archived_orders).values(settled_at=now(-days * DAY)))


def due(shop: Mill, days: float = 90.0) -> Due:
    with shop.database.snapshot() as tx:
        return Due(shop.source.id, shop.source.name, clock.read(tx) - timedelta(days=days))


def put_away(shop: Mill, days: float = 90.0) -> int:
    """Archive what is due; how many."""
    return archive_all(shop.database, [due(shop, days)], Pace(room=0.0))


def archived(shop: Mill) -> list[int]:
    with shop.database.snapshot() as tx:
        return list(
            tx.execute(select(archived_orders.c.id).order_by(archived_orders.c.id)).scalars()
        )


def live(shop: Mill) -> list[int]:
    with shop.database.snapshot() as tx:
        return list(tx.execute(select(orders.c.id).order_by(orders.c.id)).scalars())
