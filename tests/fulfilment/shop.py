"""What the tests of fulfilment share: an order that was sold, and ways to look at what became of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from pipeline import fulfilment
from pipeline.fulfilment import Verdict
from pipeline.inventory.shipping import Return, Shipment
from pipeline.source import Policy
from pipeline.storage import stock, views
from pipeline.storage.stock import Movement
from tests.payments.shop import Gateway
from tests.support import Mill

MakeMill = Callable[..., Mill]
Lines = list[tuple[str, int]]


def shelved(mill: MakeMill, *units: tuple[str, str, int], **policy: object) -> Mill:
    """A shop with so many units of (sku, location); products may be waited for."""
    shop = mill(gateway=Gateway(), policy=Policy(**policy)).stocked(units=0, backorder=True)  # type: ignore[arg-type]
    arrive(shop, *units)
    return shop


def arrive(shop: Mill, *units: tuple[str, str, int]) -> None:
    with shop.database.transaction() as tx:
        moved = [Movement(sku, location, "receipt", n) for sku, location, n in units]
        assert stock.post(tx, moved, "test") == []


def sold(shop: Mill, lines: Lines, **changes: Any) -> int:
    """A confirmed order."""
    order = shop.accept(lines=lines, **changes)
    shop.turn()
    assert shop.status(order) == "confirmed"
    return order


def ship(shop: Mill, order: int, reference: str = "P-1", **content: Any) -> Verdict:
    return ship_all(shop, Shipment(order, reference, **content))[0]


def ship_all(shop: Mill, *shipments: Shipment) -> list[Verdict]:
    with shop.database.transaction() as tx:
        return fulfilment.ship(tx, shipments, "ada")


def take_back(
    shop: Mill, order: int, lines: Mapping[int, int], location: str | None = "main",
    reference: str = "R-1", *, refund: bool = False, reason: str | None = None,
) -> Any:  # fmt: skip
    back = Return(order, reference, lines, location, reason)
    with shop.database.transaction() as tx:
        return fulfilment.take_back(tx, back, "ada", refund=refund)


def seen(shop: Mill, order: int) -> dict[str, Any]:
    """What `orders show` reads."""
    with shop.database.snapshot() as tx:
        return views.one(tx, order)


def progress(shop: Mill, order: int) -> str:
    return str(seen(shop, order)["fulfilment_status"])


def levels(shop: Mill) -> dict[tuple[str, str], tuple[int, int]]:
    """(on hand, reserved) by SKU and location."""
    rows = shop.query("SELECT sku, location, on_hand, reserved FROM stock_levels")
    return {(r.sku, r.location): (r.on_hand, r.reserved) for r in rows}


def moved(shop: Mill, kind: str) -> list[tuple[str, str, int, str]]:
    """The ledger's movements of a kind: (sku, location, quantity, reference)."""
    rows = shop.query(
        "SELECT sku, location, quantity, reference FROM stock_movements WHERE kind = :kind"
        " ORDER BY id", kind=kind,
    )  # fmt: skip
    return [tuple(r) for r in rows]
