"""The five stage bodies, shared by all peers: one order, one transaction each.

A stage looks for its order in the one status it starts from. A repeated message finds none and
changes nothing, so the chain may always go on to enqueue the next stage.
"""

from collections.abc import Callable

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from benchmarks.peers.shop import (
    Notification,
    Order,
    OrderLine,
    PaymentOperation,
    Product,
    Reservation,
    StockLevel,
    TimelineEvent,
    engine,
)

Stage = Callable[[Session, int], None]


class OutOfStock(Exception):
    def __init__(self, sku: str) -> None:
        super().__init__(f"There is not enough stock of {sku} to reserve.")
        self.sku = sku


def commit(stage: Stage, order_id: int) -> None:
    """Run a stage in a transaction of its own."""
    with Session(engine()) as session, session.begin():
        stage(session, order_id)


def validate(session: Session, order_id: int) -> None:
    """received → validated, or rejected if a SKU is unknown."""
    order = _lock(session, order_id, "received")
    if order is None:
        return
    wanted = {line.sku for line in order.lines}
    known = _products(session, wanted)
    _advance(session, order, "validated" if wanted <= known.keys() else "rejected")


def price(session: Session, order_id: int) -> None:
    """validated → priced: writes net, tax and gross on every line and on the order."""
    order = _lock(session, order_id, "validated")
    if order is None:
        return
    products = _products(session, {line.sku for line in order.lines})
    for line in order.lines:
        _price_line(line, products[line.sku])
    order.net = sum(line.net for line in order.lines)
    order.tax = sum(line.tax for line in order.lines)
    order.gross = order.net + order.tax
    _advance(session, order, "priced")


def pay(session: Session, order_id: int) -> None:
    """priced → paid: captures the total under a key that is the same at every attempt."""
    order = _lock(session, order_id, "priced")
    if order is None:
        return
    key = f"order-{order.id}-capture"
    session.add(
        PaymentOperation(
            order_id=order.id,
            idempotency_key=key,
            kind="capture",
            amount=order.gross,
            state=_gateway_capture(key, order.gross),
        )
    )
    _advance(session, order, "paid")


def reserve(session: Session, order_id: int) -> None:
    """paid → reserved. Lines come in SKU order, so two orders can't deadlock."""
    order = _lock(session, order_id, "paid")
    if order is None:
        return
    for line in order.lines:
        _take(session, line)
        session.add(Reservation(line_id=line.id, sku=line.sku, quantity=line.quantity))
    _advance(session, order, "reserved")


def notify(session: Session, order_id: int) -> None:
    """reserved → confirmed, with the notification delivered."""
    order = _lock(session, order_id, "reserved")
    if order is None:
        return
    kind = "order_confirmed"
    session.add(Notification(order_id=order.id, kind=kind, state=_sink_deliver(order.id, kind)))
    _advance(session, order, "confirmed")


def _lock(session: Session, order_id: int, status: str) -> Order | None:
    return session.scalar(
        select(Order).where(Order.id == order_id, Order.status == status).with_for_update()
    )


def _advance(session: Session, order: Order, status: str) -> None:
    order.status = status
    session.add(TimelineEvent(order_id=order.id, status=status))


def _products(session: Session, skus: set[str]) -> dict[str, Product]:
    found = session.scalars(select(Product).where(Product.sku.in_(skus)))
    return {product.sku: product for product in found}


def _price_line(line: OrderLine, product: Product) -> None:
    line.unit_price = product.unit_price
    line.net = product.unit_price * line.quantity
    line.tax = (line.net * product.tax_basis_points + 5_000) // 10_000
    line.gross = line.net + line.tax


def _take(session: Session, line: OrderLine) -> None:
    taken = session.execute(
        update(StockLevel)
        .where(
            StockLevel.sku == line.sku,
            StockLevel.on_hand - StockLevel.reserved >= line.quantity,
        )
        .values(reserved=StockLevel.reserved + line.quantity)
        .returning(StockLevel.sku)
        .execution_options(synchronize_session=False)
    )
    if taken.first() is None:
        raise OutOfStock(line.sku)


def _gateway_capture(key: str, amount: int) -> str:
    """A gateway that answers at once, so that the pipeline is measured and not the gateway."""
    return "succeeded" if key and amount >= 0 else "failed"


def _sink_deliver(order_id: int, kind: str) -> str:
    """A sink that takes everything at once."""
    return "delivered" if order_id and kind else "failed"
