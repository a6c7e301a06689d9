"""webhooks: endpoints of sources, what is delivered to them, and every attempt

What a source's policy said of a webhook becomes an endpoint, with the secret that it had.
"""

import json
import secrets

import sqlalchemy as sa
from alembic import op

from pipeline.storage.sql import UtcDateTime, now

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    op.create_table(
        "webhook_endpoints",
        sa.Column("id", sa.String(length=12), nullable=False),
        sa.Column("source_id", _ID, nullable=False),
        sa.Column("url", sa.String(length=2000), nullable=False),
        sa.Column("types", sa.Text(), nullable=False),
        sa.Column("seed", sa.String(length=64), nullable=False),
        sa.Column("earlier_seed", sa.String(length=64), nullable=True),
        sa.Column("earlier_until", UtcDateTime(), nullable=True),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.Column("created_by", sa.String(length=64), nullable=False),
        sa.Column("disabled_at", UtcDateTime(), nullable=True),
        sa.Column("disabled_by", sa.String(length=64), nullable=True),
        sa.Column("disabled_why", sa.String(length=255), nullable=True),
        sa.Column("told_at", UtcDateTime(), nullable=True),
        sa.Column("read_at", UtcDateTime(), nullable=False),
        sa.Column("read_order", _ID, nullable=False),
        sa.Column("read_seq", sa.Integer(), nullable=False),
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.Column("failing_since", UtcDateTime(), nullable=True),
        sa.Column("rest_until", UtcDateTime(), nullable=True),
        sa.Column("lease", sa.String(length=36), nullable=True),
        sa.Column("leased_until", UtcDateTime(), nullable=True),
        sa.ForeignKeyConstraint(
            ["source_id"], ["sources.id"], name=op.f("fk_webhook_endpoints_source_id")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_webhook_endpoints")),
        postgresql_with={"fillfactor": 50},
    )
    op.create_index("ix_webhook_endpoints_source_id", "webhook_endpoints", ["source_id"])
    op.create_table(
        "webhook_deliveries",
        sa.Column("id", _ID, sa.Identity(always=False), nullable=False),
        sa.Column("endpoint_id", sa.String(length=12), nullable=False),
        sa.Column("order_id", _ID, nullable=True),
        sa.Column("seq", sa.Integer(), nullable=True),
        sa.Column("type", sa.String(length=64), nullable=False),
        sa.Column("state", sa.String(length=12), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("tries", sa.Integer(), nullable=False),
        sa.Column("due_at", UtcDateTime(), nullable=False),
        sa.Column("created_at", UtcDateTime(), nullable=False),
        sa.Column("ended_at", UtcDateTime(), nullable=True),
        sa.Column("status", sa.Integer(), nullable=True),
        sa.Column("error", sa.String(length=255), nullable=True),
        sa.ForeignKeyConstraint(
            ["endpoint_id"], ["webhook_endpoints.id"],
            name=op.f("fk_webhook_deliveries_endpoint_id"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_webhook_deliveries")),
        sa.UniqueConstraint(
            "endpoint_id", "order_id", "seq",
            name=op.f("uq_webhook_deliveries_endpoint_id_order_id_seq"),
        ),
    )  # fmt: skip
    op.create_index(
        "ix_webhook_deliveries_endpoint_id_id", "webhook_deliveries", ["endpoint_id", "id"]
    )
    op.create_index("ix_webhook_deliveries_due_at", "webhook_deliveries", ["due_at"])
    op.create_index(
        "ix_webhook_deliveries_pending",
        "webhook_deliveries",
        ["endpoint_id", "due_at"],
        postgresql_where=sa.text("state = 'pending'"),
        sqlite_where=sa.text("state = 'pending'"),
    )
    op.create_table(
        "webhook_attempts",
        sa.Column("delivery_id", _ID, nullable=False),
        sa.Column("n", sa.Integer(), nullable=False),
        sa.Column("at", UtcDateTime(), nullable=False),
        sa.Column("ms", sa.Integer(), nullable=False),
        sa.Column("status", sa.Integer(), nullable=True),
        sa.Column("error", sa.String(length=255), nullable=True),
        sa.Column("answer", sa.String(length=500), nullable=True),
        sa.ForeignKeyConstraint(
            ["delivery_id"], ["webhook_deliveries.id"],
            name=op.f("fk_webhook_attempts_delivery_id"), ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("delivery_id", "n", name=op.f("pk_webhook_attempts")),
    )  # fmt: skip
    _policies_become_endpoints()


_sources = sa.table("sources", *map(sa.column, ("id", "name", "policy")))
_orders = sa.table("orders", *map(sa.column, ("id", "source_id")))
_untold = sa.table("notifications", *map(sa.column, ("order_id", "channel", "topic", "state")))
_events = sa.table("events", *map(sa.column, ("order_id", "kind", "to_status", "at")))
_endpoints = sa.table(
    "webhook_endpoints",
    *map(
        sa.column,
        ("id", "source_id", "url", "types", "seed", "created_at", "created_by", "read_at",
         "read_order", "read_seq", "failures"),
    ),
)  # fmt: skip


def _policies_become_endpoints() -> None:
    connection = op.get_bind()
    for source_id, name, policy in connection.execute(sa.select(_sources)).all():
        said = json.loads(policy)
        if "webhook_url" not in said:
            continue
        if url := said.pop("webhook_url"):  # an empty one was none
            # Secrets used to be made of the source's name: it stays the seed.
            connection.execute(
                sa.insert(_endpoints).values(
                    id=secrets.token_hex(6), source_id=source_id, url=url,
                    types='["order.confirmed", "order.shipped"]', seed=name, created_at=now(),
                    created_by="db upgrade", read_at=sa.func.coalesce(_untold_since(source_id), now()),
                    read_order=0, read_seq=0, failures=0,
                )
            )  # fmt: skip
        connection.execute(
            sa.update(_sources).where(_sources.c.id == source_id).values(policy=json.dumps(said))
        )
    connection.execute(
        sa.delete(_untold).where(_untold.c.channel == "webhook", _untold.c.state == "pending")
    )


def _untold_since(source_id: int) -> sa.ScalarSelect[object]:
    """When the oldest happened of what the webhook has yet to tell. A parcel may leave weeks after
    its order was confirmed: what was told in between must not be told again."""
    is_shipment = _untold.c.topic == "order.shipped"
    return (
        sa.select(sa.func.min(_events.c.at))
        .join(_untold, _untold.c.order_id == _events.c.order_id)
        .join(_orders, _orders.c.id == _events.c.order_id)
        .where(
            sa.case(
                (is_shipment, _events.c.kind == "shipped"),
                else_=_events.c.to_status == "confirmed",
            ),
            _untold.c.channel == "webhook",
            _untold.c.state == "pending",
            _orders.c.source_id == source_id,
        )
        .scalar_subquery()
    )
