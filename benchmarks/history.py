"""A shop's past: settled orders in the tables, as many as are wanted, written in sets."""

from sqlalchemy import text

from pipeline.storage.database import Database

# What the engine would have left behind for a confirmed three-line order, row by row.
_STATEMENTS = (
    """INSERT INTO orders (source_id, external_id, chain, lane, status, currency, approved, version,
                         accepted_at, settled_at)
       SELECT :source, 'past-' || n, 'capture_first', 0, 'confirmed', 'EUR', false, 6,
              now() - interval '1 day', now() - interval '1 day'
       FROM generate_series(CAST(:first AS int), CAST(:last AS int)) n""",
    """INSERT INTO order_documents (order_id, digest, body, customer)
       SELECT id, md5(external_id), repeat('x', 300), md5((id % 50000)::text) FROM orders
       WHERE {new}""",
    """INSERT INTO quotes (order_id, net, tax, total, includes_tax, rounding_mode, rounding_level,
                           rules, rules_version, steps)
       SELECT id, 7500, 1425, 8925, false, 'half_up', 'line', 'default', 1, repeat('x', 700)
       FROM orders WHERE {new}""",
    """INSERT INTO order_lines (order_id, line_no, sku, quantity, unit_price, tax_rate, net, tax,
                                gross)
       SELECT id, n, 'SKU-' || lpad(((id + n) % 1000)::text, 4, '0'), 2, 1250, '0.19', 2500, 475, 2975
       FROM orders, generate_series(1, 3) n WHERE {new}""",
    """INSERT INTO reservations (order_id, line_no, location, sku, quantity)
       SELECT order_id, line_no, 'main', sku, quantity FROM order_lines WHERE order_id IN
       (SELECT id FROM orders WHERE {new})""",
    """INSERT INTO stock_movements (sku, location, kind, quantity, promised, reference, actor, at)
       SELECT sku, location, 'reservation', 0, sum(quantity), 'order ' || order_id, 'engine', now()
       FROM reservations WHERE order_id IN (SELECT id FROM orders WHERE {new})
       GROUP BY order_id, sku, location""",
    """UPDATE stock_levels l SET reserved = l.reserved + r.units
       FROM (SELECT sku, location, sum(quantity) AS units FROM reservations
             WHERE order_id IN (SELECT id FROM orders WHERE {new}) GROUP BY sku, location) r
       WHERE l.sku = r.sku AND l.location = r.location""",
    """INSERT INTO events (order_id, seq, at, kind, from_status, to_status, stage, actor)
       SELECT id, n, now(), 'advanced', 'paid', 'reserved', 'reserve', 'engine'
       FROM orders, generate_series(1, 6) n WHERE {new}""",
    """INSERT INTO payment_operations (order_id, key, state, kind, amount, currency, gateway, at)
       SELECT id, md5(id::text || kind), state, kind, 8925, 'EUR', 'sandbox', now()
       FROM orders, (VALUES ('authorize'), ('capture')) k(kind),
            (VALUES ('requested'), ('succeeded')) s(state) WHERE {new}""",
    """INSERT INTO notifications (id, order_id, channel, topic, target, state, attempts, due_at)
       SELECT gen_random_uuid()::text, id, 'email', 'order.confirmed', 'ada@example.com',
              'delivered', 1, now() FROM orders WHERE {new}""",
)
_CHUNK = 100_000


def write_history(database: Database, source_id: int, orders: int) -> None:
    """Write `orders` settled orders of a source (Postgres only)."""
    if not orders:
        return
    for first in range(1, orders + 1, _CHUNK):
        values = {"source": source_id, "first": first, "last": min(first + _CHUNK - 1, orders)}
        with database.transaction() as tx:
            before = tx.execute(text("SELECT coalesce(max(id), 0) FROM orders")).scalar_one()
            for statement in _STATEMENTS:
                tx.execute(text(statement.format(new=f"orders.id > {int(before)}")), values)
    with database.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("VACUUM ANALYZE"))
        connection.execute(text("CHECKPOINT"))
