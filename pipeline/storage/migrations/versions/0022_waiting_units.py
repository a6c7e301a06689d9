"""backorders: how many units an order waits for, since when, and for every SKU that it needs

Who waits has held nothing so far. From here on it takes what there is; code that takes an order with
some of its units for one that has them all must not work on this schema.
"""

import sqlalchemy as sa
from alembic import op

from pipeline.storage.sql import UtcDateTime, now

revision = "0022"
down_revision = "0021"
branch_labels = None
depends_on = None

serves = ("0022",)

_NAMES = ("sku", "order_id", "dispatch_id", "units", "since", "movement")
_backorders = sa.table("backorders", *map(sa.column, _NAMES))
_lines = sa.table("order_lines", *map(sa.column, ("order_id", "sku", "quantity")))
_events = sa.table("events", *map(sa.column, ("order_id", "to_status", "at")))
_movements = sa.table("stock_movements", sa.column("id"))


def upgrade() -> None:
    op.add_column("backorders", sa.Column("units", sa.BigInteger(), nullable=True))
    op.add_column("backorders", sa.Column("since", UtcDateTime(), nullable=True))
    op.add_column("backorders", sa.Column("movement", sa.BigInteger(), nullable=True))
    _tell_units()
    _keep_places()
    with op.batch_alter_table("backorders") as table:
        for name, kind in (
            ("units", sa.BigInteger()),
            ("since", UtcDateTime()),
            ("movement", sa.BigInteger()),
        ):
            table.alter_column(name, existing_type=kind, nullable=False)
        table.create_check_constraint(op.f("ck_backorders_units_positive"), "units > 0")
    _look_at_once()


def _tell_units() -> None:
    """All that the order needs of the SKU; since it first waited, by its timeline."""
    wanted = (
        sa.select(sa.func.sum(_lines.c.quantity))
        .where(_lines.c.order_id == _backorders.c.order_id, _lines.c.sku == _backorders.c.sku)
        .scalar_subquery()
    )
    began = (
        sa.select(sa.func.min(_events.c.at))
        .where(_events.c.order_id == _backorders.c.order_id, _events.c.to_status == "backordered")
        .scalar_subquery()
    )
    newest = sa.select(sa.func.max(_movements.c.id)).scalar_subquery()
    op.execute(
        sa.update(_backorders).values(
            units=sa.func.coalesce(wanted, 1),
            since=sa.func.coalesce(began, now()),
            movement=sa.func.coalesce(newest, 0),
        )
    )


def _keep_places() -> None:
    """Also in the queues of the SKUs that were there for it: nobody takes them first."""
    waits = sa.select(
        _backorders.c.order_id,
        sa.func.max(_backorders.c.dispatch_id).label("dispatch_id"),
        sa.func.min(_backorders.c.since).label("since"),
        sa.func.max(_backorders.c.movement).label("movement"),
    ).group_by(_backorders.c.order_id).subquery("waits")  # fmt: skip
    known = _backorders.alias("known")
    is_known = sa.exists(
        sa.select(sa.literal(1)).where(
            known.c.order_id == _lines.c.order_id, known.c.sku == _lines.c.sku
        )
    )
    others = (
        sa.select(
            _lines.c.sku, _lines.c.order_id, waits.c.dispatch_id, sa.func.sum(_lines.c.quantity),
            waits.c.since, waits.c.movement,
        )
        .select_from(_lines.join(waits, waits.c.order_id == _lines.c.order_id))
        .where(~is_known)
        .group_by(
            _lines.c.sku, _lines.c.order_id, waits.c.dispatch_id, waits.c.since, waits.c.movement
        )
    )  # fmt: skip
    op.execute(sa.insert(_backorders).from_select(list(_NAMES), others))


def _look_at_once() -> None:
    """The stage gives them what there is."""
    op.execute(
        "UPDATE dispatches SET due_at = created_at WHERE step = 'reserve' AND leased_until IS NULL"
    )
