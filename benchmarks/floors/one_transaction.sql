-- One order, received to confirmed, in one transaction.
-- The three SKUs come from three ranges, so they differ.
\set first random(1000, 1333)
\set second random(1334, 1666)
\set third random(1667, 1999)
BEGIN;
INSERT INTO orders (external_id, currency, status)
VALUES (gen_random_uuid(), 'EUR', 'received')
RETURNING id AS order_id \gset
WITH
lines AS (
    INSERT INTO order_lines (order_id, sku, quantity, unit_price, net, tax, gross)
    SELECT :order_id, sku, 2, unit_price, net, tax, net + tax
    FROM products,
         LATERAL (SELECT unit_price * 2 AS net) AS of_line,
         LATERAL (SELECT (net * tax_basis_points + 5000) / 10000 AS tax) AS of_net
    WHERE sku IN ('SKU-' || :first::int, 'SKU-' || :second::int, 'SKU-' || :third::int)
    RETURNING sku, quantity, net, tax, gross
),
totals AS (
    SELECT sum(net) AS net, sum(tax) AS tax, sum(gross) AS gross FROM lines
),
timeline AS (
    INSERT INTO timeline_events (order_id, number, status)
    VALUES (:order_id, 1, 'received'), (:order_id, 2, 'validated'), (:order_id, 3, 'priced'),
           (:order_id, 4, 'paid'), (:order_id, 5, 'reserved'), (:order_id, 6, 'confirmed')
),
payment AS (
    INSERT INTO payment_operations (order_id, idempotency_key, kind, amount, state)
    SELECT :order_id, 'order-' || :order_id::bigint || '-capture', 'capture', gross, 'succeeded'
    FROM totals
),
reserved AS (
    INSERT INTO reservations (order_id, sku, quantity) SELECT :order_id, sku, quantity FROM lines
),
notification AS (
    INSERT INTO notifications (order_id, kind, state)
    VALUES (:order_id, 'order_confirmed', 'delivered')
)
UPDATE orders
SET status = 'confirmed', net = totals.net, tax = totals.tax, gross = totals.gross
FROM totals
WHERE id = :order_id;
-- Stock comes last, so that its rows are locked for as short a time as can be, and in key order.
WITH locked AS (
    SELECT sku FROM stock_levels
    WHERE sku IN ('SKU-' || :first::int, 'SKU-' || :second::int, 'SKU-' || :third::int)
    ORDER BY sku FOR NO KEY UPDATE
)
UPDATE stock_levels AS level
SET reserved = reserved + 2
FROM locked
WHERE level.sku = locked.sku AND on_hand - reserved >= 2;
COMMIT;
