"""What was accepted is there: the document as it was sent, and the event that says so."""

from sqlalchemy import and_, case, or_, select

from pipeline.audit.parts import count
from pipeline.audit.rule import Rule
from pipeline.order import Status
from pipeline.storage.tables import events, order_documents, orders

_no_document = order_documents.c.order_id.is_(None)
_is_received = and_(
    events.c.order_id == orders.c.id,
    events.c.seq == 1,
    events.c.kind == "received",
    events.c.to_status == Status.RECEIVED,
)

RULE = Rule(
    name="accepted_whole",
    sentence="Every accepted order has its document, and its timeline begins with its receipt.",
    checked=count(orders),
    broken=(
        select(
            orders.c.id.label("order_id"),
            case((_no_document, "no document"), else_="no receipt in its timeline").label("fault"),
        )
        .outerjoin(order_documents, order_documents.c.order_id == orders.c.id)
        .outerjoin(events, _is_received)
        .where(or_(_no_document, events.c.order_id.is_(None)))
    ),
    what="order {order_id} has {fault}",
)
