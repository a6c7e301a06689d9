-- The least that keeps an order, its money and its stock right: keys, uniqueness and the stock
-- check. No foreign keys and no secondary indexes, as this is a floor and not a design.
CREATE TABLE products (
    sku text PRIMARY KEY,
    unit_price int NOT NULL,
    tax_basis_points int NOT NULL
);
-- Room on the page for the next version of a row keeps every status and stock change HOT.
CREATE TABLE stock_levels (
    sku text PRIMARY KEY,
    on_hand int NOT NULL,
    reserved int NOT NULL DEFAULT 0,
    CHECK (reserved BETWEEN 0 AND on_hand)
) WITH (fillfactor = 25);
CREATE TABLE orders (
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    external_id text NOT NULL UNIQUE,
    currency text NOT NULL,
    status text NOT NULL,
    net int NOT NULL DEFAULT 0,
    tax int NOT NULL DEFAULT 0,
    gross int NOT NULL DEFAULT 0,
    created_at timestamptz NOT NULL DEFAULT now()
) WITH (fillfactor = 50);
CREATE TABLE order_lines (
    order_id bigint,
    sku text,
    quantity int NOT NULL,
    unit_price int NOT NULL,
    net int NOT NULL,
    tax int NOT NULL,
    gross int NOT NULL,
    PRIMARY KEY (order_id, sku)
);
CREATE TABLE timeline_events (
    order_id bigint,
    number int,
    status text NOT NULL,
    at timestamptz NOT NULL DEFAULT clock_timestamp(),
    PRIMARY KEY (order_id, number)
);
CREATE TABLE payment_operations (
    idempotency_key text PRIMARY KEY,
    order_id bigint NOT NULL,
    kind text NOT NULL,
    amount int NOT NULL,
    state text NOT NULL
);
CREATE TABLE reservations (
    order_id bigint,
    sku text,
    quantity int NOT NULL,
    PRIMARY KEY (order_id, sku)
);
CREATE TABLE notifications (
    order_id bigint PRIMARY KEY,
    kind text NOT NULL,
    state text NOT NULL
);
-- SKU-1000 to SKU-1999, with more stock than any run can reserve.
INSERT INTO products SELECT 'SKU-' || number, number - 900, 1900
FROM generate_series(1000, 1999) AS number;
INSERT INTO stock_levels SELECT sku, 1000000000 FROM products;
ANALYZE products, stock_levels;
