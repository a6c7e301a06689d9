"""archive: orders that are over as one row each; when personal data was erased"""

import sqlalchemy as sa
from alembic import op

from pipeline.storage.sql import UtcDateTime

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.add_column("order_documents", sa.Column("erased_at", UtcDateTime(), nullable=True))
    op.create_table(
        "archived_orders",
        sa.Column("id", _ID, autoincrement=False, nullable=False),
        sa.Column("source_id", _ID, nullable=False),
        sa.Column("external_id", sa.String(length=128), nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("customer", sa.String(length=32), nullable=True),
        sa.Column("status", sa.String(length=16), nullable=False),
        sa.Column("reason", sa.String(length=64), nullable=True),
        sa.Column("currency", sa.String(length=3), nullable=False),
        sa.Column("total", sa.BigInteger(), nullable=True),
        sa.Column("accepted_at", UtcDateTime(), nullable=False),
        sa.Column("settled_at", UtcDateTime(), nullable=False),
        sa.Column("archived_at", UtcDateTime(), nullable=False),
        sa.Column("erased_at", UtcDateTime(), nullable=True),
        sa.Column("body", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["source_id"], ["sources.id"], name=op.f("fk_archived_orders_source_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_archived_orders")),
        sa.UniqueConstraint(
            "source_id", "external_id", name=op.f("uq_archived_orders_source_id_external_id")
        ),
    )
    for name, columns, where in (
        ("ix_archived_orders_customer", ["customer"], "customer IS NOT NULL"),
        ("ix_archived_orders_unerased", ["source_id", "settled_at"], "erased_at IS NULL"),
    ):
        op.create_index(
            name,
            "archived_orders",
            columns,
            postgresql_where=sa.text(where),
            sqlite_where=sa.text(where),
        )
