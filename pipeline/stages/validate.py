"""validate: received → validated. Can this order be fulfilled at all?

In:  an order as accepted: well-formed by the schema.
Out: Advance; Reject (unknown, inactive or unavailable SKU); Hold (units that may be there are held
     back; a hold rule of its source; its source names no gateway, and nothing is done for an order
     that can't be paid).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

from pipeline.hold_rules import countries_held
from pipeline.order import Order
from pipeline.outcome import Advance, Hold, Outcome, Reject
from pipeline.payments.choice import AT_HOME, GatewayChoice
from pipeline.stages.step import InnerStep
from pipeline.storage import catalogue
from pipeline.storage.catalogue import Product
from pipeline.storage.database import Tx


def decide(
    order: Order, products: Mapping[str, Product], choice: GatewayChoice = AT_HOME
) -> Outcome:
    """Pure: what the catalogue, an early look at the stock and the hold rules say of `order`."""
    wanted = Counter[str]()
    for line in order.lines:
        wanted[line.sku] += line.quantity
    if unknown := [sku for sku in wanted if sku not in products]:
        return Reject("unknown_sku", {"skus": unknown[:10]})
    if inactive := [sku for sku in wanted if not products[sku].active]:
        return Reject("inactive_sku", {"skus": inactive[:10]})
    if short := [sku for sku in wanted if _is_short(products[sku], wanted[sku])]:
        detail = {"skus": short[:10]}
        is_held = all(products[sku].held for sku in short)
        return Hold("sku_held", detail) if is_held else Reject("out_of_stock", detail)
    if choice.of(order.source.policy) is None:
        return Hold("no_gateway")
    if not order.approved and _is_held(order):
        return Hold("country_held", {"country": order.country})
    return Advance()


def _is_held(order: Order) -> bool:
    held = order.source.policy.hold_countries
    return bool(held) and (order.country in held or bool(countries_held(held, order.ship_to)))


def _is_short(product: Product, quantity: int) -> bool:
    # Only a look: what counts is decided under lock by the reserve stage.
    return not product.backorder and product.available < quantity


class Validate(InnerStep):
    def __init__(self, choice: GatewayChoice) -> None:
        self._choice = choice

    def settle(self, tx: Tx, orders: Sequence[Order], findings: None) -> list[Outcome]:
        skus = {line["sku"] for order in orders for line in order.document["lines"]}
        products = catalogue.products_by_sku(tx, skus)
        return [decide(order, products, self._choice) for order in orders]
