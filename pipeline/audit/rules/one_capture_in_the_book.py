"""Nobody is charged twice, whatever our own rows say."""

from sqlalchemy import func, select

from pipeline.audit.parts import count
from pipeline.audit.rule import Rule
from pipeline.storage.gateway_book import book

RULE = Rule(
    name="one_capture_in_the_book",
    sentence="The gateway's book has at most one capture for an order.",
    checked=count(book, book.c.kind == "capture"),
    broken=(
        select(
            book.c.order_id,
            func.count().label("captures"),
            func.sum(book.c.amount).label("amount"),
        )
        .where(book.c.kind == "capture", book.c.order_id.is_not(None))
        .group_by(book.c.order_id)
        .having(func.count() > 1)
    ),
    what="order {order_id} has {captures} captures in the book, {amount} in all",
)
