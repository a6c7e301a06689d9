-- Five hundred orders, received to confirmed, in one transaction of three statements.
BEGIN;
WITH
received AS (
    INSERT INTO orders (external_id, currency, status)
    SELECT gen_random_uuid(), 'EUR', 'received' FROM generate_series(1, 500)
    RETURNING id
),
wanted AS (
    SELECT id AS order_id, 'SKU-' || number AS sku
    FROM received,
         LATERAL (VALUES (1000 + floor(random() * 334)), (1334 + floor(random() * 333)),
                         (1667 + floor(random() * 333))) AS picked (number)
),
lines AS (
    INSERT INTO order_lines (order_id, sku, quantity, unit_price, net, tax, gross)
    SELECT order_id, sku, 2, unit_price, net, tax, net + tax
    FROM wanted
    JOIN products USING (sku),
         LATERAL (SELECT unit_price * 2 AS net) AS of_line,
         LATERAL (SELECT (net * tax_basis_points + 5000) / 10000 AS tax) AS of_net
    RETURNING order_id, sku, quantity, gross
),
timeline AS (
    INSERT INTO timeline_events (order_id, number, status)
    SELECT id, number, status
    FROM received,
         (VALUES (1, 'received'), (2, 'validated'), (3, 'priced'),
                 (4, 'paid'), (5, 'reserved'), (6, 'confirmed')) AS passed (number, status)
),
payments AS (
    INSERT INTO payment_operations (order_id, idempotency_key, kind, amount, state)
    SELECT order_id, 'order-' || order_id || '-capture', 'capture', sum(gross), 'succeeded'
    FROM lines GROUP BY order_id
),
reserved AS (
    INSERT INTO reservations (order_id, sku, quantity) SELECT order_id, sku, quantity FROM lines
),
notified AS (
    INSERT INTO notifications (order_id, kind, state)
    SELECT id, 'order_confirmed', 'delivered' FROM received
)
SELECT array_agg(id) AS order_ids FROM received \gset
UPDATE orders
SET status = 'confirmed', net = totals.net, tax = totals.tax, gross = totals.gross
FROM (
    SELECT order_id, sum(net) AS net, sum(tax) AS tax, sum(gross) AS gross
    FROM order_lines WHERE order_id = ANY(:order_ids::bigint[]) GROUP BY order_id
) AS totals
WHERE id = totals.order_id;
-- Stock comes last, so that its rows are locked for as short a time as can be, and in key order.
WITH
wanted AS (
    SELECT sku, sum(quantity) AS quantity
    FROM order_lines WHERE order_id = ANY(:order_ids::bigint[]) GROUP BY sku
),
locked AS (
    SELECT sku FROM stock_levels WHERE sku IN (SELECT sku FROM wanted)
    ORDER BY sku FOR NO KEY UPDATE
)
UPDATE stock_levels AS level
SET reserved = reserved + wanted.quantity
FROM locked JOIN wanted USING (sku)
WHERE level.sku = locked.sku AND on_hand - reserved >= wanted.quantity;
COMMIT;
