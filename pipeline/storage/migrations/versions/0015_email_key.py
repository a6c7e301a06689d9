"""email_key: orders are found by their customer's e-mail, also where the customer has an id"""

import json
from collections.abc import Iterator

import sqlalchemy as sa
from alembic import op

from pipeline.order import email_key
from pipeline.storage.sql import json_text, pack, rows

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None

_CHUNK = 1_000
_documents = sa.table("order_documents", *map(sa.column, ("order_id", "body", "email_key")))
_archived = sa.table("archived_orders", *map(sa.column, ("id", "body", "email_key")))
_told = rows(
    sa.Column("id", sa.BigInteger), sa.Column("email_key", sa.String), sa.Column("body", sa.Text)
)


def upgrade() -> None:
    for name in ("order_documents", "archived_orders"):
        op.add_column(name, sa.Column("email_key", sa.String(length=32), nullable=True))
    _tell_documents()
    _tell_archive()
    for name in ("order_documents", "archived_orders"):
        there = sa.text("email_key IS NOT NULL")
        op.create_index(
            f"ix_{name}_email_key", name, ["email_key"],
            postgresql_where=there, sqlite_where=there,
        )  # fmt: skip


def _tell_documents() -> None:
    tell = (
        sa.update(_documents)
        .where(_documents.c.order_id == _told.c.id)
        .values(email_key=_told.c.email_key)
    )
    for page in _pages(_documents.c.order_id, _documents.c.body, _documents.c.body):
        told = [(order_id, _key_of(body), None) for order_id, body in page]
        op.get_bind().execute(tell, {"rows": pack(told)})


def _tell_archive() -> None:
    """What it holds of a document's row, it is restored from."""
    tell = (
        sa.update(_archived)
        .where(_archived.c.id == _told.c.id)
        .values(email_key=_told.c.email_key, body=_told.c.body)
    )
    document = json_text(_archived.c.body, "order_documents", 0, "body")
    for page in _pages(_archived.c.id, _archived.c.body, document):
        told = []
        for order_id, body in page:
            contents = json.loads(body)
            [row] = contents["order_documents"]
            row["email_key"] = _key_of(row["body"])
            told.append((order_id, row["email_key"], json.dumps(contents, ensure_ascii=False)))
        op.get_bind().execute(tell, {"rows": pack(told)})


def _pages(
    order_id: sa.ColumnElement[int], body: sa.ColumnElement[str], document: sa.ColumnElement[str]
) -> Iterator[list[tuple[int, str]]]:
    """Only where the customer has an id: else the customer's key is the e-mail's."""
    page = (
        sa.select(order_id, body)
        .where(order_id > sa.bindparam("after"), json_text(document, "customer", "id").is_not(None))
        .order_by(order_id)
        .limit(_CHUNK)
    )
    after = 0
    while found := op.get_bind().execute(page, {"after": after}).all():
        after = found[-1][0]
        yield [(order_id, body) for order_id, body in found]


def _key_of(document: str) -> str | None:
    email = json.loads(document)["customer"].get("email")
    return None if email is None else email_key(email)
