"""stock reconciliation: differences that were found, levels that are held, when a product is low"""

import sqlalchemy as sa
from alembic import op

from pipeline.storage.sql import UtcDateTime

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    not_negative = sa.CheckConstraint(
        "reorder_point >= 0", name=op.f("ck_products_reorder_point_not_negative")
    )
    op.add_column(
        "products", sa.Column("reorder_point", sa.BigInteger(), not_negative, nullable=True)
    )
    op.add_column(
        "stock_levels",
        sa.Column("held", sa.Boolean(), nullable=False, server_default=sa.text("false")),
    )
    op.create_table(
        "stock_differences",
        sa.Column("id", _ID, sa.Identity(), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("sku", sa.String(length=64), nullable=False),
        sa.Column("location", sa.String(length=32), nullable=False),
        sa.Column("of_order", _ID, nullable=False),
        sa.Column("expected", sa.BigInteger(), nullable=False),
        sa.Column("found", sa.BigInteger(), nullable=False),
        sa.Column("at", UtcDateTime(), nullable=False),
        sa.Column("cause", sa.String(length=255), nullable=True),
        sa.Column("done", sa.String(length=32), nullable=False),
        sa.Column("feed", sa.String(length=64), nullable=True),
        sa.Column("found_at", UtcDateTime(), nullable=False),
        sa.Column("seen_at", UtcDateTime(), nullable=False),
        sa.Column("cleared_at", UtcDateTime(), nullable=True),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_stock_differences")),
    )
    op.create_index(
        "uq_stock_differences_open",
        "stock_differences",
        ["kind", "sku", "location", "of_order"],
        unique=True,
        postgresql_where=sa.text("cleared_at IS NULL"),
        sqlite_where=sa.text("cleared_at IS NULL"),
    )
    op.create_index("ix_stock_differences_seen_at", "stock_differences", ["seen_at"])
    op.create_index("ix_stock_differences_sku", "stock_differences", ["sku"])
    op.create_table(
        "stock_feeds",
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("name", sa.String(length=255), nullable=False),
        sa.Column("etag", sa.String(length=255), nullable=True),
        sa.Column("begun_at", UtcDateTime(), nullable=False),
        sa.Column("finished_at", UtcDateTime(), nullable=True),
        sa.PrimaryKeyConstraint("digest", name=op.f("pk_stock_feeds")),
    )
    op.create_table(
        "stock_alerts",
        sa.Column("sku", sa.String(length=64), nullable=False),
        sa.Column("told_at", UtcDateTime(), nullable=False),
        sa.PrimaryKeyConstraint("sku", name=op.f("pk_stock_alerts")),
    )
