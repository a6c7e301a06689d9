"""What we say was done, the gateway says too."""

from sqlalchemy import and_, bindparam, case, or_, select

from pipeline.audit.parts import count
from pipeline.audit.rule import Rule
from pipeline.storage.gateway_book import book
from pipeline.storage.payments import bounced
from pipeline.storage.tables import payment_operations as ops

# Younger ones the book may have been read too early for: see gateway_book.py.
_is_asked_for = and_(
    ops.c.state == "succeeded",
    ~bounced(ops),
    ops.c.gateway.in_(bindparam("gateways", expanding=True)),
    ops.c.at < bindparam("book_read_at", type_=ops.c.at.type),
)

RULE = Rule(
    name="ours_in_the_book",
    sentence="Every operation that succeeded (a refund: and did not bounce) is in its gateway's book, with its kind and amount.",
    checked=count(ops, _is_asked_for),
    broken=(
        select(
            ops.c.order_id,
            ops.c.key,
            ops.c.kind,
            ops.c.amount,
            ops.c.currency,
            case(
                (book.c.key.is_(None), "not in the gateway's book"),
                else_="another there: " + book.c.kind,
            ).label("fault"),
            book.c.amount.label("booked"),
        )
        .outerjoin(book, and_(book.c.key == ops.c.key, book.c.gateway == ops.c.gateway))
        .where(
            _is_asked_for,
            or_(
                book.c.key.is_(None),
                book.c.kind != ops.c.kind,
                book.c.amount != ops.c.amount,
                book.c.currency != ops.c.currency,
            ),
        )
    ),
    what="{kind} {key} of order {order_id} over {amount} {currency} is {fault} (booked: {booked})",
)
