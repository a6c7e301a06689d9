"""fulfilment: shipments, returns, lines cancelled after part was shipped"""

import sqlalchemy as sa
from alembic import op

from pipeline.storage.sql import UtcDateTime

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_TOLD = ["order_id", "channel", "topic"]


def upgrade() -> None:
    op.add_column("stock_movements", sa.Column("reference", sa.String(length=64), nullable=True))
    _parcels("shipments", _text("carrier", 64), _text("tracking", 64))
    _lines("shipment_lines", "shipment_id", ["shipment_id", "line_no", "location"],
           sa.Column("location", sa.String(length=32), nullable=False))  # fmt: skip
    _parcels("returns", _text("location", 32), _text("reason", 64))
    _lines("return_lines", "return_id", ["return_id", "line_no"])
    op.create_table(
        "cancelled_lines",
        sa.Column("order_id", _ID, nullable=False),
        sa.Column("line_no", sa.Integer(), nullable=False),
        sa.Column("sku", sa.String(length=64), nullable=False),
        sa.Column("units", sa.BigInteger(), nullable=False),
        sa.Column("amount", sa.BigInteger(), nullable=False),
        sa.Column("unpaid", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("units > 0", name=op.f("ck_cancelled_lines_units_positive")),
        sa.CheckConstraint(
            "unpaid >= 0 AND unpaid <= amount", name=op.f("ck_cancelled_lines_unpaid_in_bounds")
        ),
        sa.PrimaryKeyConstraint("order_id", "line_no", name=op.f("pk_cancelled_lines")),
    )
    _subjects()


def _text(name: str, most: int) -> sa.Column[str]:
    return sa.Column(name, sa.String(length=most), nullable=True)


def _parcels(table: str, *columns: sa.Column[str]) -> None:
    op.create_table(
        table,
        sa.Column("id", _ID, sa.Identity(always=False), nullable=False),
        sa.Column("order_id", _ID, nullable=False),
        sa.Column("reference", sa.String(length=64), nullable=False),
        *columns,
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("actor", sa.String(length=64), nullable=False),
        sa.Column("at", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f(f"pk_{table}")),
        sa.UniqueConstraint(
            "order_id", "reference", name=op.f(f"uq_{table}_order_id_reference")
        ),
    )  # fmt: skip


def _lines(table: str, parent: str, key: list[str], *columns: sa.Column[str]) -> None:
    op.create_table(
        table,
        sa.Column(parent, _ID, nullable=False, autoincrement=False),
        sa.Column("line_no", sa.Integer(), nullable=False),
        *columns,
        sa.Column("order_id", _ID, nullable=False),
        sa.Column("sku", sa.String(length=64), nullable=False),
        sa.Column("units", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("units > 0", name=op.f(f"ck_{table}_units_positive")),
        sa.PrimaryKeyConstraint(*key, name=op.f(f"pk_{table}")),
    )
    op.create_index(f"ix_{table}_order_id", table, ["order_id"])


def _subjects() -> None:
    """An order may be told of several things of one kind. Pages had a name at the end of the topic."""
    op.drop_index("ix_notifications_pending", "notifications")  # batch would forget its condition
    with op.batch_alter_table("notifications") as notifications:
        notifications.add_column(
            sa.Column("subject", sa.String(length=36), nullable=False, server_default="")
        )
        notifications.drop_constraint(
            op.f("uq_notifications_order_id_channel_topic"), type_="unique"
        )
        notifications.create_unique_constraint(
            op.f("uq_notifications_order_id_channel_topic_subject"), [*_TOLD, "subject"]
        )
    pending = sa.text("state = 'pending'")
    op.create_index(
        "ix_notifications_pending", "notifications", ["due_at"],
        postgresql_where=pending, sqlite_where=pending,
    )  # fmt: skip
    op.execute(
        "UPDATE notifications SET subject = substr(topic, length(topic) - 7), "
        "topic = substr(topic, 1, length(topic) - 9) WHERE channel = 'page'"
    )
