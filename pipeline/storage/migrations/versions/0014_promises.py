"""promises in the ledger: what is promised to orders now, some movement promised"""

import sqlalchemy as sa
from alembic import op

from pipeline.storage.sql import now

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None

_LEVEL = (sa.column("sku", sa.String), sa.column("location", sa.String))
_reservations = sa.table(
    "reservations", sa.column("order_id", sa.BigInteger), *_LEVEL, sa.column("quantity")
)
_movements = sa.table(
    "stock_movements",
    *(sa.column(n) for n in ("kind", "quantity", "promised", "reference", "actor", "at")),
    sa.column("sku"),
    sa.column("location"),
)


def upgrade() -> None:
    op.add_column(
        "stock_movements",
        sa.Column("promised", sa.BigInteger(), nullable=False, server_default="0"),
    )
    _write_promises()
    op.drop_index("ix_stock_movements_level", "stock_movements")
    op.create_index("ix_stock_movements_sku", "stock_movements", ["sku", "at"])


def _write_promises() -> None:
    """Who promised it, and when, is in the orders' timelines."""
    held = _reservations.c
    promised = (
        sa.select(
            held.sku, held.location, sa.literal("reservation"), sa.literal(0),
            sa.func.sum(held.quantity),
            sa.literal("order ").concat(sa.cast(held.order_id, sa.String)),
            sa.literal("migration"), now(),
        )
        .group_by(held.order_id, held.sku, held.location)
        .order_by(held.order_id, held.sku, held.location)
    )  # fmt: skip
    columns = ["sku", "location", "kind", "quantity", "promised", "reference", "actor", "at"]
    op.execute(sa.insert(_movements).from_select(columns, promised))
