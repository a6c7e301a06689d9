"""payments"""

import sqlalchemy as sa
from alembic import op

from pipeline.storage.sql import UtcDateTime

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def _order_id(*, nullable: bool = False) -> sa.Column[int]:
    kind = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
    return sa.Column("order_id", kind, nullable=nullable)


def upgrade() -> None:
    with op.batch_alter_table("payment_operations") as operations:
        operations.alter_column(
            "key",
            existing_type=sa.String(length=40),
            type_=sa.String(length=64),
            existing_nullable=False,
        )
    op.create_table(
        "payment_tasks",
        _order_id(),
        sa.Column("key", sa.String(length=64), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("due_at", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("order_id", "key", name=op.f("pk_payment_tasks")),
    )
    op.create_index("ix_payment_tasks_due", "payment_tasks", ["due_at"], unique=False)
    op.create_table(
        "refund_lines",
        _order_id(),
        sa.Column("key", sa.String(length=64), nullable=False),
        sa.Column("line_no", sa.Integer(), nullable=False),
        sa.Column("units", sa.BigInteger(), nullable=False),
        sa.Column("amount", sa.BigInteger(), nullable=False),
        sa.CheckConstraint("units > 0", name=op.f("ck_refund_lines_units_positive")),
        sa.CheckConstraint("amount >= 0", name=op.f("ck_refund_lines_not_negative")),
        sa.PrimaryKeyConstraint("order_id", "key", "line_no", name=op.f("pk_refund_lines")),
    )
    op.create_table(
        "gateway_events",
        sa.Column("gateway", sa.String(length=32), nullable=False),
        sa.Column("event_id", sa.String(length=128), nullable=False),
        sa.Column("type", sa.String(length=64), nullable=False),
        sa.Column("reference", sa.String(length=128), nullable=False),
        sa.Column("received_at", UtcDateTime(), nullable=False),
        sa.Column("processed_at", UtcDateTime(), nullable=True),
        _order_id(nullable=True),
        sa.Column("outcome", sa.String(length=32), nullable=True),
        sa.PrimaryKeyConstraint("gateway", "event_id", name=op.f("pk_gateway_events")),
    )
    op.create_index(
        "ix_gateway_events_unprocessed",
        "gateway_events",
        ["received_at"],
        unique=False,
        postgresql_where=sa.text("processed_at IS NULL"),
        sqlite_where=sa.text("processed_at IS NULL"),
    )
    op.create_table(
        "gateway_cursors",
        sa.Column("gateway", sa.String(length=32), nullable=False),
        sa.Column("read_until", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("gateway", name=op.f("pk_gateway_cursors")),
    )
