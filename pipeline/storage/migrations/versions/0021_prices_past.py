"""prices keep their past; when an order was placed, and the total that it states"""

import sqlalchemy as sa
from alembic import op

from pipeline.storage.sql import UtcDateTime

revision = "0021"
down_revision = "0020"
branch_labels = None
depends_on = None

# Code of before would price an order and not look at the total that it states.
serves = ("0021",)


def upgrade() -> None:
    op.add_column("order_documents", sa.Column("placed_at", UtcDateTime(), nullable=True))
    op.add_column("order_documents", sa.Column("total_shown", sa.BigInteger(), nullable=True))
    op.add_column("archived_orders", sa.Column("placed_at", UtcDateTime(), nullable=True))
    # Those that are there are on record since ever: null.
    op.add_column("prices", sa.Column("recorded_at", UtcDateTime(), nullable=True))
    op.create_table(
        "past_prices",
        sa.Column("sku", sa.String(length=64), nullable=False),
        sa.Column("currency", sa.String(length=3), nullable=False),
        sa.Column("customer_group", sa.String(length=64), nullable=False),
        sa.Column("from_quantity", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("valid_from", UtcDateTime(), nullable=False),
        sa.Column("replaced_at", UtcDateTime(), nullable=False),
        sa.Column("recorded_at", UtcDateTime(), nullable=True),
        sa.Column("valid_until", UtcDateTime(), nullable=True),
        sa.Column("amount", sa.BigInteger(), nullable=False),
        sa.CheckConstraint(
            "replaced_at > recorded_at", name=op.f("ck_past_prices_recorded_for_a_while")
        ),
        sa.ForeignKeyConstraint(["sku"], ["products.sku"], name=op.f("fk_past_prices_sku")),
        sa.PrimaryKeyConstraint(
            "sku", "currency", "customer_group", "from_quantity", "valid_from", "replaced_at",
            name=op.f("pk_past_prices"),
        ),
    )  # fmt: skip
    op.create_index(
        "ix_pricing_rules_imported_at", "pricing_rules", ["name", "imported_at", "version"]
    )
