"""The shop that every peer and floor works on: its tables, its products, its incoming orders."""

import os
import random
from collections.abc import Sequence
from datetime import datetime
from functools import cache

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Engine,
    ForeignKey,
    Identity,
    create_engine,
    func,
    insert,
    make_url,
)
from sqlalchemy.orm import (
    DeclarativeBase,
    Mapped,
    Session,
    mapped_column,
    relationship,
)

PRODUCTS = 1_000
LINES_PER_ORDER = 3
AMPLE_STOCK = 100_000_000


class Base(DeclarativeBase):
    pass


class Product(Base):
    __tablename__ = "peer_products"

    sku: Mapped[str] = mapped_column(primary_key=True)
    unit_price: Mapped[int]
    tax_basis_points: Mapped[int]


class StockLevel(Base):
    __tablename__ = "peer_stock_levels"
    __table_args__ = (CheckConstraint("reserved BETWEEN 0 AND on_hand"),)

    sku: Mapped[str] = mapped_column(ForeignKey("peer_products.sku"), primary_key=True)
    on_hand: Mapped[int]
    reserved: Mapped[int] = mapped_column(server_default="0")


class Order(Base):
    __tablename__ = "peer_orders"

    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    external_id: Mapped[str] = mapped_column(unique=True)
    currency: Mapped[str]
    status: Mapped[str]
    net: Mapped[int] = mapped_column(server_default="0")
    tax: Mapped[int] = mapped_column(server_default="0")
    gross: Mapped[int] = mapped_column(server_default="0")
    created_at: Mapped[datetime] = mapped_column(server_default=func.now())
    lines: Mapped[list["OrderLine"]] = relationship(order_by="OrderLine.sku")


class OrderLine(Base):
    __tablename__ = "peer_order_lines"

    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    order_id: Mapped[int] = mapped_column(ForeignKey("peer_orders.id"), index=True)
    sku: Mapped[str]
    quantity: Mapped[int]
    unit_price: Mapped[int] = mapped_column(server_default="0")
    net: Mapped[int] = mapped_column(server_default="0")
    tax: Mapped[int] = mapped_column(server_default="0")
    gross: Mapped[int] = mapped_column(server_default="0")


class TimelineEvent(Base):
    __tablename__ = "peer_timeline_events"

    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    order_id: Mapped[int] = mapped_column(ForeignKey("peer_orders.id"), index=True)
    status: Mapped[str]
    at: Mapped[datetime] = mapped_column(server_default=func.clock_timestamp())


class PaymentOperation(Base):
    __tablename__ = "peer_payment_operations"

    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    order_id: Mapped[int] = mapped_column(ForeignKey("peer_orders.id"), index=True)
    idempotency_key: Mapped[str] = mapped_column(unique=True)
    kind: Mapped[str]
    amount: Mapped[int]
    state: Mapped[str]


class Reservation(Base):
    __tablename__ = "peer_reservations"

    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    line_id: Mapped[int] = mapped_column(ForeignKey("peer_order_lines.id"), unique=True)
    sku: Mapped[str] = mapped_column(ForeignKey("peer_stock_levels.sku"))
    quantity: Mapped[int]


class Notification(Base):
    __tablename__ = "peer_notifications"

    id: Mapped[int] = mapped_column(BigInteger, Identity(), primary_key=True)
    order_id: Mapped[int] = mapped_column(ForeignKey("peer_orders.id"), index=True)
    kind: Mapped[str]
    state: Mapped[str]


@cache
def engine() -> Engine:
    """Lazy, so that each forked worker opens connections of its own."""
    url = make_url(os.environ["DATABASE_URL"]).set(drivername="postgresql+psycopg")
    return create_engine(url, pool_size=20)


def open_shop() -> None:
    """Create the tables, and products with more stock than any run can reserve."""
    Base.metadata.create_all(engine())
    with Session(engine()) as session, session.begin():
        session.execute(insert(Product), [_product(n) for n in range(1, PRODUCTS + 1)])
        session.execute(insert(StockLevel), [_stock(n) for n in range(1, PRODUCTS + 1)])


def sku(number: int) -> str:
    return f"SKU-{number:04}"


def _product(number: int) -> dict[str, object]:
    return {"sku": sku(number), "unit_price": 100 + number, "tax_basis_points": 1_900}


def _stock(number: int) -> dict[str, object]:
    return {"sku": sku(number), "on_hand": AMPLE_STOCK}


def accept_orders(count: int) -> Sequence[int]:
    """Commit `count` three-line orders with status received; return their ids."""
    with Session(engine()) as session, session.begin():
        ids = session.scalars(
            insert(Order).returning(Order.id), [_order() for _ in range(count)]
        ).all()
        session.execute(insert(OrderLine), [line for id in ids for line in _lines(id)])
        session.execute(
            insert(TimelineEvent), [{"order_id": id, "status": "received"} for id in ids]
        )
    return ids


def _order() -> dict[str, object]:
    return {
        "external_id": f"web-{random.getrandbits(64):016x}",
        "currency": "EUR",
        "status": "received",
    }


def _lines(order_id: int) -> list[dict[str, object]]:
    numbers = random.sample(range(1, PRODUCTS + 1), LINES_PER_ORDER)
    return [{"order_id": order_id, "sku": sku(n), "quantity": 1 + n % 3} for n in numbers]
