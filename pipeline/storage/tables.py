"""Every table, once. `migrations/` brings a database here; a test compares the two.

Lock order, for everyone: dispatches, then orders by id, then stock levels by (sku, location).
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    ForeignKey,
    Identity,
    Index,
    Integer,
    MetaData,
    SmallInteger,
    String,
    Table,
    Text,
    UniqueConstraint,
    text,
)

from pipeline.storage.sql import UtcDateTime

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)

#: SQLite numbers rows only in a column that is exactly INTEGER.
_Id = BigInteger().with_variant(Integer, "sqlite")


def _id() -> Column[int]:
    return Column("id", _Id, Identity(), primary_key=True)


def _order_id(*, primary_key: bool = False) -> Column[int]:
    """The order a row belongs to. No foreign key: it would look up and lock the order's row for
    every row inserted, measured at a quarter of the engine's throughput. Rows are only written by
    who holds the order's dispatch, orders are never deleted, and the audit looks for orphans."""
    return Column("order_id", _Id, nullable=False, primary_key=primary_key)


sources = Table(
    "sources",
    metadata,
    _id(),
    Column("name", String(64), nullable=False, unique=True),
    Column("policy", Text, nullable=False),  # JSON of pipeline.source.Policy
    Column("created_at", UtcDateTime, nullable=False),
)

# Narrow on purpose: each stage rewrites this row, so what doesn't change lives in order_documents
# and quotes. No index names a column that a stage changes (Postgres then updates in place, HOT);
# the partial ones change only when an order is settled.
orders = Table(
    "orders",
    metadata,
    _id(),
    Column("source_id", _Id, ForeignKey("sources.id"), nullable=False),
    Column("external_id", String(128), nullable=False),
    Column("chain", String(32), nullable=False),
    Column("lane", SmallInteger, nullable=False),
    Column("status", String(16), nullable=False),
    Column("stage", String(32)),  # the step it is at or, on hold, goes on from; null at the end
    Column("reason", String(64)),
    Column("currency", String(3), nullable=False),
    Column("approved", Boolean, nullable=False),  # a person has released it: hold rules are over
    Column("version", Integer, nullable=False),  # the sequence number of its last timeline event
    Column("cancel_requested_at", UtcDateTime),
    Column("accepted_at", UtcDateTime, nullable=False),
    Column("settled_at", UtcDateTime),
    UniqueConstraint("source_id", "external_id"),
    Index("ix_orders_unsettled", "id", postgresql_where=text("settled_at IS NULL"),
          sqlite_where=text("settled_at IS NULL")),
    # Room on the page for a second version of every row: each stage rewrites them all at once.
    postgresql_with={"fillfactor": 50},
)  # fmt: skip

order_documents = Table(
    "order_documents",
    metadata,
    _order_id(primary_key=True),
    Column("digest", String(64), nullable=False),  # SHA-256 of the canonical document
    Column("body", Text, nullable=False),  # JSON of pipeline.intake.schema.OrderIn
)

order_lines = Table(
    "order_lines",
    metadata,
    _order_id(primary_key=True),
    Column("line_no", Integer, primary_key=True),
    Column("sku", String(64), nullable=False),
    Column("quantity", Integer, nullable=False),
    Column("unit_price", BigInteger, nullable=False),
    Column("tax_rate", String(12), nullable=False),
    Column("net", BigInteger, nullable=False),
    Column("tax", BigInteger, nullable=False),
    Column("gross", BigInteger, nullable=False),
    CheckConstraint("quantity > 0", name="quantity_positive"),
    CheckConstraint("net + tax = gross", name="adds_up"),
)

quotes = Table(
    "quotes",
    metadata,
    _order_id(primary_key=True),
    Column("net", BigInteger, nullable=False),
    Column("tax", BigInteger, nullable=False),
    Column("total", BigInteger, nullable=False),
    Column("includes_tax", Boolean, nullable=False),
    Column("rounding_mode", String(16), nullable=False),
    Column("rounding_level", String(16), nullable=False),
    CheckConstraint("net + tax = total", name="adds_up"),
)

events = Table(
    "events",
    metadata,
    _order_id(primary_key=True),
    Column("seq", Integer, primary_key=True),
    Column("at", UtcDateTime, nullable=False),
    Column("kind", String(32), nullable=False),
    Column("from_status", String(16)),
    Column("to_status", String(16)),
    Column("stage", String(32)),
    Column("reason", String(64)),
    Column("actor", String(64), nullable=False),
    Column("detail", Text),
)

# Few and short-lived rows, each with many orders. See engine/.
dispatches = Table(
    "dispatches",
    metadata,
    _id(),
    Column("step", String(32), nullable=False),
    Column("lane", SmallInteger, nullable=False),
    Column("due_at", UtcDateTime, nullable=False),
    Column("order_ids", Text, nullable=False),  # JSON array, ascending
    Column("size", Integer, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("deaths", Integer, nullable=False),  # leases that ran out under it
    Column("lease", String(36)),  # who works on it
    Column("leased_until", UtcDateTime),
    Column("created_at", UtcDateTime, nullable=False),
    Index("ix_dispatches_due", "step", "lane", "due_at"),
    CheckConstraint("size > 0", name="not_empty"),
    postgresql_with={"fillfactor": 50, "autovacuum_vacuum_scale_factor": 0.0,
                     "autovacuum_vacuum_threshold": 500},
)  # fmt: skip

products = Table(
    "products",
    metadata,
    Column("sku", String(64), primary_key=True),
    Column("name", String(255), nullable=False),
    Column("active", Boolean, nullable=False),
    Column("backorder", Boolean, nullable=False),  # wait for stock rather than be refused
)

prices = Table(
    "prices",
    metadata,
    Column("sku", String(64), ForeignKey("products.sku"), primary_key=True),
    Column("currency", String(3), primary_key=True),
    Column("amount", BigInteger, nullable=False),
    CheckConstraint("amount >= 0", name="not_negative"),
)

stock_levels = Table(
    "stock_levels",
    metadata,
    Column("sku", String(64), ForeignKey("products.sku"), primary_key=True),
    Column("location", String(32), primary_key=True),
    Column("on_hand", BigInteger, nullable=False),
    Column("reserved", BigInteger, nullable=False),
    CheckConstraint("reserved >= 0", name="reserved_not_negative"),
    CheckConstraint("reserved <= on_hand", name="not_oversold"),
    postgresql_with={"fillfactor": 50},
)

stock_movements = Table(
    "stock_movements",
    metadata,
    _id(),
    Column("sku", String(64), nullable=False),
    Column("location", String(32), nullable=False),
    Column("kind", String(16), nullable=False),
    Column("quantity", BigInteger, nullable=False),
    Column("reason", String(255)),
    Column("actor", String(64), nullable=False),
    Column("at", UtcDateTime, nullable=False),
    Index("ix_stock_movements_level", "sku", "location"),
)

reservations = Table(
    "reservations",
    metadata,
    _order_id(primary_key=True),
    Column("line_no", Integer, primary_key=True),
    Column("location", String(32), primary_key=True),
    Column("sku", String(64), nullable=False),
    Column("quantity", BigInteger, nullable=False),
    CheckConstraint("quantity > 0", name="quantity_positive"),
)

# Append-only: an operation is born `requested`, before the gateway is called, and gets a second
# row with what became of it. Amounts are derived. `key` is both our reference at the gateway and
# the idempotency key.
payment_operations = Table(
    "payment_operations",
    metadata,
    _order_id(primary_key=True),
    Column("key", String(40), primary_key=True),
    Column("state", String(12), primary_key=True),  # requested, succeeded, failed, unknown
    Column("kind", String(12), nullable=False),  # authorize, capture, void, refund
    Column("amount", BigInteger, nullable=False),
    Column("currency", String(3), nullable=False),
    Column("gateway", String(32), nullable=False),
    Column("reference", String(128)),  # the gateway's name for it, once it succeeded
    Column("code", String(128)),
    Column("at", UtcDateTime, nullable=False),
)

notifications = Table(
    "notifications",
    metadata,
    Column("id", String(36), primary_key=True),
    _order_id(),
    Column("channel", String(16), nullable=False),
    Column("topic", String(64), nullable=False),
    Column("target", String(2048), nullable=False),
    Column("state", String(12), nullable=False),  # pending, delivered, failed
    Column("attempts", Integer, nullable=False),
    Column("due_at", UtcDateTime, nullable=False),
    Column("error", String(255)),
    UniqueConstraint("order_id", "channel", "topic"),
    Index("ix_notifications_pending", "due_at", postgresql_where=text("state = 'pending'"),
          sqlite_where=text("state = 'pending'")),
)  # fmt: skip

# One row a recorded batch and outcome; dashboards sum these instead of counting orders.
counters = Table(
    "counters",
    metadata,
    _id(),
    Column("at", UtcDateTime, nullable=False),
    Column("step", String(32), nullable=False),
    Column("outcome", String(16), nullable=False),
    Column("orders", Integer, nullable=False),
    Index("ix_counters_at", "at"),
)

# What intake refused from a message: nobody waits there for a verdict.
refusals = Table(
    "refusals",
    metadata,
    _id(),
    Column("at", UtcDateTime, nullable=False),
    Column("source", String(64), nullable=False),
    Column("external_id", String(128)),
    Column("problems", Text, nullable=False),  # JSON array of {field, value, expected}
)

queues = Table(
    "queues",
    metadata,
    Column("step", String(32), primary_key=True),
    Column("paused_at", UtcDateTime, nullable=False),
    Column("paused_by", String(64), nullable=False),
)

processes = Table(
    "processes",
    metadata,
    Column("id", String(36), primary_key=True),
    Column("role", String(16), nullable=False),
    Column("host", String(255), nullable=False),
    Column("pid", Integer, nullable=False),
    Column("started_at", UtcDateTime, nullable=False),
    Column("seen_at", UtcDateTime, nullable=False),
    Column("doing", Text, nullable=False),  # JSON array of {step, orders, since}
)

job_runs = Table(
    "job_runs",
    metadata,
    Column("job", String(64), primary_key=True),
    Column("fire_at", UtcDateTime, primary_key=True),
    Column("started_at", UtcDateTime, nullable=False),
    Column("finished_at", UtcDateTime),
    Column("by", String(255), nullable=False),
    Column("result", Text),
    Column("error", Text),
)

# Which lines of which stock files (by SHA-256) were posted: importing one again posts nothing.
stock_imports = Table(
    "stock_imports",
    metadata,
    Column("digest", String(64), primary_key=True),
    Column("line", Integer, primary_key=True),
)
