"""Every table, once. `migrations/` brings a database here; a test compares the two.

Lock order, for everyone: the row of an Idempotency-Key, a webhook's endpoint, dispatches, then orders by id, then archived
orders by id, then payment tasks, then stock levels by (sku, location), then coupon uses by (rules,
code, customer), then backorders. Dispatches that wait for stock, and that nobody works on, come last,
by id: whoever works on one waits for no level.
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
    who holds the order's dispatch or lock, orders leave only for the archive, and the audit looks
    for orphans."""
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
    Column("held_at", UtcDateTime),  # set while it is on hold: an index on status would undo HOT
    UniqueConstraint("source_id", "external_id"),
    Index("ix_orders_held", "reason", "held_at", postgresql_where=text("held_at IS NOT NULL"),
          sqlite_where=text("held_at IS NOT NULL")),
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
    Column("customer", String(32)),  # pipeline.order.customer_key; null for one who isn't known
    Column("email_key", String(32)),  # pipeline.order.email_key, unless `customer` is it
    Column("erased_at", UtcDateTime),  # since when it doesn't say any more who ordered
    Column("traceparent", String(55)),  # W3C Trace Context: what it came in with, or was given
    Column("decided", Text),  # JSON of {kind: value}: what a person decided (pipeline.decisions)
    Column("vat_check", Text),  # JSON of pipeline.vat.check.VatCheck: what VIES said of its VAT id
    Column("placed_at", UtcDateTime),  # when the customer ordered, where the document says so
    Column("total_shown", BigInteger),  # the total that the document states, in minor units
    Index("ix_order_documents_customer", "customer", postgresql_where=text("customer IS NOT NULL"),
          sqlite_where=text("customer IS NOT NULL")),
    Index("ix_order_documents_email_key", "email_key",
          postgresql_where=text("email_key IS NOT NULL"),
          sqlite_where=text("email_key IS NOT NULL")),
)  # fmt: skip

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
    Column("discount", BigInteger, nullable=False, server_default="0"),
    CheckConstraint("quantity > 0", name="quantity_positive"),
    CheckConstraint("net + tax = gross", name="adds_up"),
    CheckConstraint(
        "discount >= 0 AND discount <= unit_price * quantity", name="discount_in_bounds"
    ),
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
    Column("rules", String(64)),  # what it was priced by; null before there were rules
    Column("rules_version", Integer),  # null: no version of them was imported then
    Column("shipping_method", String(64)),  # null: no shipping
    Column("shipping_price", BigInteger, nullable=False, server_default="0"),
    Column("shipping_discount", BigInteger, nullable=False, server_default="0"),
    Column("shipping_net", BigInteger, nullable=False, server_default="0"),
    Column("shipping_tax", BigInteger, nullable=False, server_default="0"),
    Column("coupons", Text, nullable=False, server_default="[]"),  # JSON array of the codes used
    Column("steps", Text, nullable=False, server_default="[]"),  # JSON: pricing.quote.Quote.steps
    CheckConstraint("net + tax = total", name="adds_up"),
    CheckConstraint("shipping_discount >= 0 AND shipping_discount <= shipping_price",
                    name="shipping_in_bounds"),
)  # fmt: skip

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
    # For the feed, which is read in order of time.
    Index("ix_events_at", "at"),
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
    # Why its orders wait, and how often each was looked at for that: a JSON array beside order_ids.
    # What is looked at and waits on for the same cause adds no event: it counts here. Null: none has
    # been looked at since it came here.
    Column("cause", String(64)),
    Column("looks", Text),
    Index("ix_dispatches_due", "step", "lane", "due_at"),
    CheckConstraint("size > 0", name="not_empty"),
    postgresql_with={"fillfactor": 50, "autovacuum_vacuum_scale_factor": 0.0,
                     "autovacuum_vacuum_threshold": 500},
)  # fmt: skip

# Orders that are over, each as one row: storage/archive.py moves them here and back. What `body`
# holds of other rows is listed there; money, coupons and stock stay in their ledgers.
archived_orders = Table(
    "archived_orders",
    metadata,
    Column("id", _Id, primary_key=True, autoincrement=False),  # the order's
    Column("source_id", _Id, ForeignKey("sources.id"), nullable=False),
    Column("external_id", String(128), nullable=False),
    Column("digest", String(64), nullable=False),
    Column("customer", String(32)),
    Column("email_key", String(32)),
    Column("status", String(16), nullable=False),
    Column("reason", String(64)),
    Column("currency", String(3), nullable=False),
    Column("total", BigInteger),  # null: it was never priced
    Column("accepted_at", UtcDateTime, nullable=False),
    Column("placed_at", UtcDateTime),
    Column("settled_at", UtcDateTime, nullable=False),
    Column("archived_at", UtcDateTime, nullable=False),
    Column("erased_at", UtcDateTime),
    Column("body", Text, nullable=False),  # JSON: its rows by table, each by column
    UniqueConstraint("source_id", "external_id"),
    Index("ix_archived_orders_customer", "customer", postgresql_where=text("customer IS NOT NULL"),
          sqlite_where=text("customer IS NOT NULL")),
    Index("ix_archived_orders_email_key", "email_key",
          postgresql_where=text("email_key IS NOT NULL"),
          sqlite_where=text("email_key IS NOT NULL")),
    Index("ix_archived_orders_unerased", "source_id", "settled_at",
          postgresql_where=text("erased_at IS NULL"), sqlite_where=text("erased_at IS NULL")),
)  # fmt: skip

# How many decimal places the amounts in a currency have, in every table: written before the first of
# them, and never changed, whatever a later list of currencies says.
currencies = Table(
    "currencies",
    metadata,
    Column("code", String(3), primary_key=True),
    Column("exponent", SmallInteger, nullable=False),
    CheckConstraint("exponent >= 0", name="not_negative"),
)

products = Table(
    "products",
    metadata,
    Column("sku", String(64), primary_key=True),
    Column("name", String(255), nullable=False),
    Column("active", Boolean, nullable=False),
    Column("backorder", Boolean, nullable=False),  # wait for stock rather than be refused
    Column("categories", Text, nullable=False, server_default="[]"),  # JSON array, sorted
    Column("tax_class", String(64), nullable=False, server_default="standard"),
    Column("weight", Integer, nullable=False, server_default="0"),  # of one unit, in grams
    Column("reorder_point", BigInteger),  # it is low when no more units than that are available
    CheckConstraint("weight >= 0", name="weight_not_negative"),
    CheckConstraint("reorder_point >= 0", name="reorder_point_not_negative"),
)

# A price without a beginning has catalogue.ALWAYS for one: a key can't be null.
prices = Table(
    "prices",
    metadata,
    Column("sku", String(64), ForeignKey("products.sku"), primary_key=True),
    Column("currency", String(3), primary_key=True),
    Column("customer_group", String(64), primary_key=True),  # "" is everyone
    Column("from_quantity", Integer, primary_key=True, autoincrement=False),
    Column("valid_from", UtcDateTime, primary_key=True),
    Column("valid_until", UtcDateTime),
    Column("amount", BigInteger, nullable=False),
    Column("recorded_at", UtcDateTime),  # null: since ever; it was there before this was kept
    CheckConstraint("amount >= 0", name="not_negative"),
    CheckConstraint("from_quantity > 0", name="quantity_positive"),
    CheckConstraint("valid_until > valid_from", name="valid_for_a_while"),
)

# What prices were before they were replaced: each was on record from `recorded_at` until
# `replaced_at`. Apart from `prices`, so that what is priced now reads none of it.
past_prices = Table(
    "past_prices",
    metadata,
    Column("sku", String(64), ForeignKey("products.sku"), primary_key=True),
    Column("currency", String(3), primary_key=True),
    Column("customer_group", String(64), primary_key=True),
    Column("from_quantity", Integer, primary_key=True, autoincrement=False),
    Column("valid_from", UtcDateTime, primary_key=True),
    Column("replaced_at", UtcDateTime, primary_key=True),
    Column("recorded_at", UtcDateTime),
    Column("valid_until", UtcDateTime),
    Column("amount", BigInteger, nullable=False),
    CheckConstraint("replaced_at > recorded_at", name="recorded_for_a_while"),
)

# Rule sets as imported. Versions count up from 1 and never change: a quote names the one it is by.
pricing_rules = Table(
    "pricing_rules",
    metadata,
    Column("name", String(64), primary_key=True),
    Column("version", Integer, primary_key=True, autoincrement=False),
    Column("digest", String(64), nullable=False),  # SHA-256 of the body
    Column("body", Text, nullable=False),  # canonical JSON of pipeline.pricing.rules.Rules
    Column("zone", Text),  # its time zone, of pipeline.pricing.zones.kept; null: UTC
    Column("imported_at", UtcDateTime, nullable=False),
    Column("imported_by", String(64), nullable=False),
    Index("ix_pricing_rules_imported_at", "name", "imported_at", "version"),
    CheckConstraint("version > 0", name="version_positive"),
)

# How often a coupon is in use: by all (customer "") and by each customer. `most` is the limit that
# the last one to use it had to keep to; limits may differ between versions of the rules.
coupon_uses = Table(
    "coupon_uses",
    metadata,
    Column("rules", String(64), primary_key=True),
    Column("code", String(64), primary_key=True),
    Column("customer", String(32), primary_key=True),
    Column("used", BigInteger, nullable=False),
    Column("most", BigInteger),
    CheckConstraint("used >= 0", name="not_negative"),
    CheckConstraint("used <= most", name="not_above_the_limit"),
    postgresql_with={"fillfactor": 50},
)

# Who uses them: each is counted in coupon_uses, for all and, where the order names one, the customer,
# and the e-mail of one who is known by an id.
coupon_redemptions = Table(
    "coupon_redemptions",
    metadata,
    _order_id(primary_key=True),
    Column("code", String(64), primary_key=True),
    Column("rules", String(64), nullable=False),
    Column("customer", String(32), nullable=False),  # "" where the order names none
    Column("email_key", String(32), nullable=False, server_default=""),  # "" if `customer` is it
)

stock_levels = Table(
    "stock_levels",
    metadata,
    Column("sku", String(64), ForeignKey("products.sku"), primary_key=True),
    Column("location", String(32), primary_key=True),
    Column("on_hand", BigInteger, nullable=False),
    Column("reserved", BigInteger, nullable=False),
    Column("safety", BigInteger, nullable=False, server_default="0"),  # units never promised
    Column("held", Boolean, nullable=False, server_default=text("false")),  # promise nothing more
    CheckConstraint("safety >= 0", name="safety_not_negative"),
    CheckConstraint("reserved >= 0", name="reserved_not_negative"),
    CheckConstraint("reserved <= on_hand", name="not_oversold"),
    postgresql_with={"fillfactor": 50},
)

# Where units are. A level at a location without a row here is at pipeline.inventory's ANYWHERE.
locations = Table(
    "locations",
    metadata,
    Column("name", String(32), primary_key=True),
    Column("country", String(2)),
    Column("priority", Integer, nullable=False),
    Column("serves", Text),  # JSON array of countries, sorted; null: all
    CheckConstraint("priority >= 0", name="priority_not_negative"),
)

stock_movements = Table(
    "stock_movements",
    metadata,
    _id(),
    Column("sku", String(64), nullable=False),
    Column("location", String(32), nullable=False),
    Column("kind", String(16), nullable=False),
    Column("quantity", BigInteger, nullable=False),  # by how much what is on hand changes
    Column("reason", String(255)),
    Column("actor", String(64), nullable=False),
    Column("at", UtcDateTime, nullable=False),
    Column("reference", String(64)),  # what it is for: "order 17"
    # By how much what is promised of it changes.
    Column("promised", BigInteger, nullable=False, server_default="0"),
    Index("ix_stock_movements_sku", "sku", "at"),
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

# What left for a customer, and what came back. `digest` is of what was asked for, so that the same
# under the same reference is known again. Written under the order's lock, then that of its levels.
shipments = Table(
    "shipments",
    metadata,
    _id(),
    _order_id(),
    Column("reference", String(64), nullable=False),
    Column("carrier", String(64)),
    Column("tracking", String(64)),
    Column("digest", String(64), nullable=False),
    Column("actor", String(64), nullable=False),
    Column("at", UtcDateTime, nullable=False),
    UniqueConstraint("order_id", "reference"),
)

shipment_lines = Table(
    "shipment_lines",
    metadata,
    Column("shipment_id", _Id, primary_key=True, autoincrement=False),
    Column("line_no", Integer, primary_key=True),
    Column("location", String(32), primary_key=True),
    _order_id(),
    Column("sku", String(64), nullable=False),
    Column("units", BigInteger, nullable=False),
    CheckConstraint("units > 0", name="units_positive"),
    Index("ix_shipment_lines_order_id", "order_id"),
)

returns = Table(
    "returns",
    metadata,
    _id(),
    _order_id(),
    Column("reference", String(64), nullable=False),
    Column("location", String(32)),  # where the units are put back into stock; null: nowhere
    Column("reason", String(64)),
    Column("digest", String(64), nullable=False),
    Column("actor", String(64), nullable=False),
    Column("at", UtcDateTime, nullable=False),
    UniqueConstraint("order_id", "reference"),
)

return_lines = Table(
    "return_lines",
    metadata,
    Column("return_id", _Id, primary_key=True, autoincrement=False),
    Column("line_no", Integer, primary_key=True),
    _order_id(),
    Column("sku", String(64), nullable=False),
    Column("units", BigInteger, nullable=False),
    CheckConstraint("units > 0", name="units_positive"),
    Index("ix_return_lines_order_id", "order_id"),
)

# Units of a confirmed order that were cancelled as the rest of it had been shipped. `amount` is their
# share of the line's gross, `unpaid` what of that had not been captured: it is due no more.
cancelled_lines = Table(
    "cancelled_lines",
    metadata,
    _order_id(primary_key=True),
    Column("line_no", Integer, primary_key=True),
    Column("sku", String(64), nullable=False),
    Column("units", BigInteger, nullable=False),
    Column("amount", BigInteger, nullable=False),
    Column("unpaid", BigInteger, nullable=False),
    CheckConstraint("units > 0", name="units_positive"),
    CheckConstraint("unpaid >= 0 AND unpaid <= amount", name="unpaid_in_bounds"),
)

# Who waits for how many units of which SKU, and in which dispatch: so that stock that arrives finds
# them by itself. Written under the locks of the levels of all the order's SKUs.
backorders = Table(
    "backorders",
    metadata,
    Column("sku", String(64), primary_key=True),
    _order_id(primary_key=True),
    Column("dispatch_id", _Id),
    Column("units", BigInteger, nullable=False),
    Column("since", UtcDateTime, nullable=False),  # when the order began to wait
    # The newest movement when it began to wait for this SKU: no later one gives it to a later order.
    Column("movement", BigInteger, nullable=False),
    CheckConstraint("units > 0", name="units_positive"),
    Index("ix_backorders_order_id", "order_id"),
)

# Append-only: an operation of ours is born `requested`, before the gateway is called, and gets
# another row with what became of it; one made at the gateway by someone else is named by its
# reference there. Amounts are derived. `key` is both our reference at the gateway and the
# idempotency key.
payment_operations = Table(
    "payment_operations",
    metadata,
    _order_id(primary_key=True),
    Column("key", String(64), primary_key=True),
    Column("state", String(12), primary_key=True),  # of pipeline.payments.account.State
    Column("kind", String(12), nullable=False),  # of pipeline.payments.gateway.Kind
    Column("amount", BigInteger, nullable=False),
    Column("currency", String(3), nullable=False),
    Column("gateway", String(32), nullable=False),
    Column("reference", String(128)),  # the gateway's name for it, once it is there
    Column("code", String(128)),
    Column("at", UtcDateTime, nullable=False),
    # For reports on a window of time. On Postgres a few bytes a thousand rows: they lie in its order.
    Index("ix_payment_operations_at", "at", postgresql_using="brin"),
)

# What a reconciliation found that our operations and a gateway's own list don't agree on. `at` is
# when it happened, by who knows of it: a run clears what it looked at and no longer finds.
payment_differences = Table(
    "payment_differences",
    metadata,
    _id(),
    Column("gateway", String(32), nullable=False),
    Column("kind", String(20), nullable=False),  # pipeline.payments.reconcile.Kind
    Column("order_id", _Id),
    Column("key", String(128), nullable=False),
    Column("at", UtcDateTime, nullable=False),
    Column("our_kind", String(12)),
    Column("our_state", String(12)),
    Column("our_amount", BigInteger),
    Column("our_currency", String(3)),
    Column("their_kind", String(12)),
    Column("their_amount", BigInteger),
    Column("their_currency", String(3)),
    Column("times", Integer, nullable=False),  # how often the gateway lists it
    Column("found_at", UtcDateTime, nullable=False),
    Column("seen_at", UtcDateTime, nullable=False),  # by the last run that found it
    Column("cleared_at", UtcDateTime),
    Index(
        "uq_payment_differences_open",
        "gateway",
        "key",
        "kind",
        unique=True,
        postgresql_where=text("cleared_at IS NULL"),
        sqlite_where=text("cleared_at IS NULL"),
    ),
)

# Of an operation that was asked for after the sale: it is to be done, by whoever takes it.
payment_tasks = Table(
    "payment_tasks",
    metadata,
    _order_id(primary_key=True),
    Column("key", String(64), primary_key=True),
    Column("attempts", Integer, nullable=False),
    Column("due_at", UtcDateTime, nullable=False),
    Index("ix_payment_tasks_due", "due_at"),
)

# What a refund was for: units of lines, or shipping (line 0, one unit), and what these cost. Of what
# was refunded by amount before, a part may have been for them too: then they sum to more than it.
refund_lines = Table(
    "refund_lines",
    metadata,
    _order_id(primary_key=True),
    Column("key", String(64), primary_key=True),
    Column("line_no", Integer, primary_key=True),
    Column("units", BigInteger, nullable=False),
    Column("amount", BigInteger, nullable=False),
    CheckConstraint("units > 0", name="units_positive"),
    CheckConstraint("amount >= 0", name="not_negative"),
)

# What gateways told us, each event once. Not processed: the payment is yet to be read.
gateway_events = Table(
    "gateway_events",
    metadata,
    Column("gateway", String(32), primary_key=True),
    Column("event_id", String(128), primary_key=True),
    Column("type", String(64), nullable=False),
    Column("reference", String(128), nullable=False),  # of the payment it is about
    Column("received_at", UtcDateTime, nullable=False),
    Column("processed_at", UtcDateTime),
    Column("order_id", _Id),
    Column("outcome", String(32)),
    Index("ix_gateway_events_unprocessed", "received_at",
          postgresql_where=text("processed_at IS NULL"),
          sqlite_where=text("processed_at IS NULL")),
)  # fmt: skip

# Until when each gateway's list of events has been read.
gateway_cursors = Table(
    "gateway_cursors",
    metadata,
    Column("gateway", String(32), primary_key=True),
    Column("read_until", UtcDateTime, nullable=False),
)

notifications = Table(
    "notifications",
    metadata,
    Column("id", String(36), primary_key=True),
    _order_id(),
    Column("channel", String(16), nullable=False),  # email, page
    Column("topic", String(64), nullable=False),
    Column("target", String(2048), nullable=False),
    Column("state", String(12), nullable=False),  # pending, delivered, failed, withdrawn
    Column("attempts", Integer, nullable=False),
    Column("due_at", UtcDateTime, nullable=False),
    Column("error", String(255)),
    # What of the order it is about: a shipment's id, a page's own name; "" the order as a whole.
    Column("subject", String(36), nullable=False, server_default=""),
    UniqueConstraint("order_id", "channel", "topic", "subject"),
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
    # Of a message that can't be read: where it came, its bytes (masked, for some days), how many
    Column("queue", String(32)),
    Column("message", Text),
    Column("size", BigInteger),
    Index("ix_refusals_source_external_id", "source", "external_id"),
    Index("ix_refusals_put_aside", "at", postgresql_where=text("queue IS NOT NULL"),
          sqlite_where=text("queue IS NOT NULL")),
)  # fmt: skip

queues = Table(
    "queues",
    metadata,
    Column("step", String(32), primary_key=True),
    Column("paused_at", UtcDateTime, nullable=False),
    Column("paused_by", String(64), nullable=False),
)

# Which code may work on this schema: the newest schema that it was written for. `db upgrade` writes it
# from what the newest migration declares, so that older code can tell whether it may go on.
schema_serves = Table(
    "schema_serves",
    metadata,
    Column("code_schema", String(32), primary_key=True),
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
    Column("doing", Text, nullable=False),  # JSON: {step, orders, seconds}; {gateway, breaker}
    # The code that runs there. Null: it was older than what could say so.
    Column("version", String(32)),
    Column("code_schema", String(32)),
)

# A row for each moment when a job was due, and each time a person asked for it. Who inserts the
# moment, or sets a waiting one to running, runs it: the indexes let one, and one of a job at a time.
job_runs = Table(
    "job_runs",
    metadata,
    _id(),
    Column("job", String(64), nullable=False),
    Column("fire_at", UtcDateTime, nullable=False),  # when it was due or asked for
    Column("asked_by", String(64)),  # null: the schedule
    Column("state", String(12), nullable=False),  # of pipeline.storage.job_runs.State
    Column("attempt", Integer, nullable=False),
    Column("lease", String(36)),  # who runs it
    Column("leased_until", UtcDateTime),
    Column("by", String(255)),
    Column("started_at", UtcDateTime),  # the latest attempt
    Column("finished_at", UtcDateTime),
    Column("result", Text),  # JSON
    Column("error", Text),
    Column("log", Text),
    Index("uq_job_runs_moment", "job", "fire_at", unique=True,
          postgresql_where=text("asked_by IS NULL"), sqlite_where=text("asked_by IS NULL")),
    Index("uq_job_runs_running", "job", unique=True,
          postgresql_where=text("state = 'running'"), sqlite_where=text("state = 'running'")),
    Index("ix_job_runs_open", "job", "id",
          postgresql_where=text("state IN ('waiting', 'running')"),
          sqlite_where=text("state IN ('waiting', 'running')")),
    Index("ix_job_runs_fire_at", "fire_at"),
    Index("ix_job_runs_job_fire_at", "job", "fire_at"),
)  # fmt: skip

# What a look at the stock found that doesn't agree: the books with themselves (ledger, reserved,
# promised, over, lacking), or a count with the books. `at` is when it was counted, else when it was looked at.
stock_differences = Table(
    "stock_differences",
    metadata,
    _id(),
    Column("kind", String(16), nullable=False),  # of pipeline.stock_reconciliation.books.Kind
    Column("sku", String(64), nullable=False),
    Column("location", String(32), nullable=False),  # "": of no one location
    Column("of_order", _Id, nullable=False),  # 0: of no one order
    Column("expected", BigInteger, nullable=False),
    Column("found", BigInteger, nullable=False),
    Column("at", UtcDateTime, nullable=False),
    Column("cause", String(255)),
    Column("done", String(32), nullable=False),
    Column("feed", String(64)),  # the digest in stock_feeds; null for the books' own
    Column("found_at", UtcDateTime, nullable=False),
    Column("seen_at", UtcDateTime, nullable=False),  # by the last run that found it
    Column("cleared_at", UtcDateTime),
    Index("uq_stock_differences_open", "kind", "sku", "location", "of_order", unique=True,
          postgresql_where=text("cleared_at IS NULL"), sqlite_where=text("cleared_at IS NULL")),
    Index("ix_stock_differences_seen_at", "seen_at"),
    Index("ix_stock_differences_sku", "sku"),
)  # fmt: skip

# The counts that were read, by the SHA-256 of what was in them: each once.
stock_feeds = Table(
    "stock_feeds",
    metadata,
    Column("digest", String(64), primary_key=True),
    Column("name", String(255), nullable=False),  # the file's, or host and path of the URL
    Column("etag", String(255)),
    Column("begun_at", UtcDateTime, nullable=False),
    Column("finished_at", UtcDateTime),
)

# Which products somebody was told are low; gone once they have recovered.
stock_alerts = Table(
    "stock_alerts",
    metadata,
    Column("sku", String(64), primary_key=True),
    Column("told_at", UtcDateTime, nullable=False),
)

# Which lines of which stock files (by SHA-256) were posted: importing one again posts nothing.
stock_imports = Table(
    "stock_imports",
    metadata,
    Column("digest", String(64), primary_key=True),
    Column("line", Integer, primary_key=True),
)

# Keys of the HTTP API; what is kept of the secret is its SHA-256.
api_keys = Table(
    "api_keys",
    metadata,
    Column("id", String(12), primary_key=True),
    Column("digest", String(64), nullable=False),
    Column("name", String(64), nullable=False),
    Column("source_id", _Id, ForeignKey("sources.id")),  # null: an operator's
    Column("scopes", Text, nullable=False),  # JSON array of pipeline.access.Scope
    Column("rate", Integer, nullable=False),  # requests a second
    Column("created_at", UtcDateTime, nullable=False),
    Column("created_by", String(64), nullable=False),
    Column("expires_at", UtcDateTime),
    Column("revoked_at", UtcDateTime),
    Column("last_used_at", UtcDateTime),
    CheckConstraint("rate > 0", name="rate_positive"),
)

# What was answered under an Idempotency-Key, written in the transaction of what was done.
idempotency = Table(
    "idempotency",
    metadata,
    Column("owner", String(64), primary_key=True),
    Column("key", String(255), primary_key=True),
    Column("digest", String(64), nullable=False),  # SHA-256 of the request
    Column("answer", Text, nullable=False),  # JSON
    Column("at", UtcDateTime, nullable=False),
    Index("ix_idempotency_at", "at"),
)

# Who may sign in to the console.
operators = Table(
    "operators",
    metadata,
    _id(),
    Column("name", String(32), nullable=False, unique=True),
    Column("role", String(16), nullable=False),  # of pipeline.operators.Role
    Column("password", String(255), nullable=False),  # Argon2, in its encoded form
    Column("created_at", UtcDateTime, nullable=False),
    Column("disabled_at", UtcDateTime),
)

# Who is signed in. The id that a browser has is kept as its SHA-256: who reads the row can't use it.
operator_sessions = Table(
    "operator_sessions",
    metadata,
    Column("digest", String(64), primary_key=True),
    Column("operator_id", _Id, ForeignKey("operators.id"), nullable=False),
    Column("csrf", String(64), nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    Column("seen_at", UtcDateTime, nullable=False),
    Column("confirmed_at", UtcDateTime, nullable=False),  # the password was last given
    Column("flash", String(255)),  # what the next page says
    Index("ix_operator_sessions_operator_id", "operator_id"),
)

# Attempts to sign in, by whom they count against (a hash of name, address, or both).
sign_ins = Table(
    "sign_ins",
    metadata,
    Column("key", String(64), primary_key=True),
    Column("attempts", Integer, nullable=False),
    Column("since", UtcDateTime, nullable=False),
)

# What operators did. Written in the action's own transaction.
operators_log = Table(
    "operators_log",
    metadata,
    _id(),
    Column("at", UtcDateTime, nullable=False),
    Column("operator", String(64), nullable=False),
    Column("action", String(32), nullable=False),
    Column("target", String(128)),
    Column("detail", Text),  # JSON
    Column("outcome", String(16), nullable=False),  # done, refused, under_way, failed
)

# Where a source is told of what happens to its orders. The secret isn't here: it is made of the
# master secret and the seed. `read_…` is how far the feed of events is made into deliveries.
webhook_endpoints = Table(
    "webhook_endpoints",
    metadata,
    Column("id", String(12), primary_key=True),
    Column("source_id", _Id, ForeignKey("sources.id"), nullable=False),
    Column("url", String(2000), nullable=False),
    Column("types", Text, nullable=False),  # JSON array of pipeline.webhooks.types
    Column("seed", String(64), nullable=False),
    Column("earlier_seed", String(64)),  # of the secret before, which signs beside it until then
    Column("earlier_until", UtcDateTime),
    Column("created_at", UtcDateTime, nullable=False),
    Column("created_by", String(64), nullable=False),
    Column("disabled_at", UtcDateTime),
    Column("disabled_by", String(64)),
    Column("disabled_why", String(255)),
    Column("told_at", UtcDateTime),  # somebody was told that it was found dead
    Column("read_at", UtcDateTime, nullable=False),
    Column("read_order", _Id, nullable=False),
    Column("read_seq", Integer, nullable=False),
    Column("failures", Integer, nullable=False),  # in a row
    Column("failing_since", UtcDateTime),
    Column("rest_until", UtcDateTime),  # it is left alone for so long
    Column("lease", String(36)),  # who delivers to it
    Column("leased_until", UtcDateTime),
    Index("ix_webhook_endpoints_source_id", "source_id"),
    postgresql_with={"fillfactor": 50},
)

# An event of an order, and one endpoint that wants it. What is sent is read from the events.
webhook_deliveries = Table(
    "webhook_deliveries",
    metadata,
    _id(),
    Column("endpoint_id", String(12), ForeignKey("webhook_endpoints.id"), nullable=False),
    Column("order_id", _Id),  # null: a test
    Column("seq", Integer),
    Column("type", String(64), nullable=False),
    Column("state", String(12), nullable=False),  # pending, delivered, failed
    Column("attempts", Integer, nullable=False),
    Column("tries", Integer, nullable=False),  # attempts since it was last asked for
    Column("due_at", UtcDateTime, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    Column("ended_at", UtcDateTime),
    Column("status", Integer),  # of the last attempt, as is the error
    Column("error", String(255)),
    UniqueConstraint("endpoint_id", "order_id", "seq"),
    Index("ix_webhook_deliveries_endpoint_id_id", "endpoint_id", "id"),
    Index("ix_webhook_deliveries_due_at", "due_at"),
    Index("ix_webhook_deliveries_pending", "endpoint_id", "due_at",
          postgresql_where=text("state = 'pending'"), sqlite_where=text("state = 'pending'")),
)  # fmt: skip

webhook_attempts = Table(
    "webhook_attempts",
    metadata,
    Column(
        "delivery_id", _Id, ForeignKey("webhook_deliveries.id", ondelete="CASCADE"),
        primary_key=True,
    ),
    Column("n", Integer, primary_key=True, autoincrement=False),
    Column("at", UtcDateTime, nullable=False),
    Column("ms", Integer, nullable=False),
    Column("status", Integer),  # null: there was no answer
    Column("error", String(255)),
    Column("answer", String(500)),  # its beginning
)  # fmt: skip
