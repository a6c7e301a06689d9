"""The cart while it is being priced: what each line, and shipping, costs by now, and why."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from pipeline.pricing.cart import Cart, CartLine

#: Discounts in minor units, by the position of what they are taken off.
Shares = Mapping[int, int]

SHIPPING = "shipping"


@dataclass(slots=True)
class Basket:
    """`lines` stand in the order in which "first" is meant: by SKU, then unit price. `places` says
    for each line of the cart where it stands there, `numbers` what the cart calls each of them.

    `amounts` go by position in `lines`; shipping, once there is any, is the last. `applied` are
    promotions; `content` are those, too, that another of their group outdid, or that would make
    shipping cheaper where it costs nothing: their customer pays no more than was promised.
    """

    cart: Cart
    at: datetime
    lines: Sequence[CartLine]
    places: Sequence[int]
    numbers: Sequence[int]
    amounts: list[int]
    steps: list[dict[str, Any]]
    applied: set[str] = field(default_factory=set)
    content: set[str] = field(default_factory=set)

    @classmethod
    def of(cls, cart: Cart) -> Basket:
        keys = [(line.sku, line.unit_price, line.quantity) for line in cart.lines]
        order = sorted(range(len(keys)), key=keys.__getitem__)
        lines = [cart.lines[i] for i in order]
        return cls(
            cart,
            cart.at.astimezone(UTC),
            lines,
            sorted(range(len(order)), key=order.__getitem__),
            [i + 1 for i in order],
            [line.unit_price * line.quantity for line in lines],
            [_price_step(n, line) for n, line in enumerate(cart.lines, start=1)],
        )

    @property
    def value(self) -> int:
        """What the lines cost by now, without shipping."""
        return sum(self.amounts[: len(self.lines)])

    def spend(self, chosen: Sequence[int]) -> int:
        return sum([self.amounts[i] for i in chosen])

    def units(self, chosen: Sequence[int]) -> int:
        return sum([self.lines[i].quantity for i in chosen])

    def take_off(self, shares: Shares) -> None:
        amounts = self.amounts
        for position, share in shares.items():
            amounts[position] -= share

    def labelled(self, shares: Shares) -> dict[str, int]:
        """Shares that are not zero by line number as text, or "shipping": as JSON has them."""
        numbers = self.numbers
        return {
            str(numbers[position]) if position < len(numbers) else SHIPPING: share
            for position, share in shares.items()
            if share
        }


def _price_step(number: int, line: CartLine) -> dict[str, Any]:
    return {
        "step": "price",
        "line": number,
        "sku": line.sku,
        "quantity": line.quantity,
        "unit_price": line.unit_price,
        "origin": line.origin,
    }
