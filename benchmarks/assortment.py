"""A shop's products, their prices and their stock, as many as are wanted, written in sets; and what
is ordered of them."""

from collections.abc import Sequence

from sqlalchemy import text

from pipeline.storage.database import Database

_STATEMENTS = (
    """INSERT INTO products (sku, name, active, backorder)
       SELECT {sku}, {sku}, true, false FROM generate_series(0, :last) n""",
    """INSERT INTO prices (sku, currency, customer_group, from_quantity, valid_from, amount)
       SELECT {sku}, 'EUR', '', 1, 'epoch', 1250 FROM generate_series(0, :last) n""",
    """INSERT INTO stock_levels (sku, location, on_hand, reserved)
       SELECT {sku}, 'main', 1000000000, 0 FROM generate_series(0, :last) n""",
    """INSERT INTO stock_movements (sku, location, kind, quantity, actor, at)
       SELECT {sku}, 'main', 'receipt', 1000000000, 'benchmark', now()
       FROM generate_series(0, :last) n""",
)
#: As `sku` says it.
_SKU = "'SKU-' || lpad(n::text, greatest(4, length(n::text)), '0')"


def sku(number: int) -> str:
    return f"SKU-{number:04}"


def an_order(external_id: str, skus: Sequence[int]) -> dict[str, object]:
    """An order of two units of each of the `skus`, by number."""
    return {
        "external_id": external_id,
        "currency": "EUR",
        "customer": {"email": "ada@example.com", "name": "Ada"},
        "ship_to": {"country": "DE", "postal_code": "10115"},
        # Priced apart, so that three lines of one SKU stay three lines.
        "lines": [
            {"sku": sku(each), "quantity": 2, "unit_price": f"12.5{n}"}
            for n, each in enumerate(skus)
        ],
        "payment": {"method": "pm_card_visa"},
    }


def stock_up(database: Database, skus: int) -> None:
    """Write `skus` products with plenty of stock at one location (Postgres only)."""
    with database.transaction() as tx:
        for statement in _STATEMENTS:
            tx.execute(text(statement.format(sku=_SKU)), {"last": skus - 1})
    with database.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        connection.execute(text("VACUUM ANALYZE"))
