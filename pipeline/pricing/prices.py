"""The catalogue's price for a line: of all that fit, the best fitting."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

_EARLIEST = datetime.min.replace(tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class ListPrice:
    """One price of a SKU in one currency, in minor units. `customer_group` "" is everyone; valid in
    [valid_from, valid_until), aware; None is no bound."""

    amount: int
    customer_group: str = ""
    from_quantity: int = 1
    valid_from: datetime | None = None
    valid_until: datetime | None = None

    @property
    def origin(self) -> str:
        """Where a line's unit price is from, for its explanation: `group vip from 10`."""
        whose = f"group {self.customer_group}" if self.customer_group else "catalogue"
        return f"{whose} from {self.from_quantity}" if self.from_quantity > 1 else whose


def choose(
    prices: Iterable[ListPrice], quantity: int, group: str | None, at: datetime
) -> ListPrice | None:
    """The price that counts for `quantity` units, bought at `at` (aware) by a customer of `group`.

    One for the group goes before one for everyone; then one with a validity before one without;
    then the highest quantity break; then the latest valid_from. None: there is no price.
    """
    fitting = [price for price in prices if _fits(price, quantity, group, at)]
    return max(fitting, key=_precedence, default=None)


def _fits(price: ListPrice, quantity: int, group: str | None, at: datetime) -> bool:
    return (
        price.customer_group in ("", group)
        and price.from_quantity <= quantity
        and (price.valid_from is None or price.valid_from <= at)
        and (price.valid_until is None or at < price.valid_until)
    )


def _precedence(price: ListPrice) -> tuple[bool, bool, int, datetime]:
    dated = price.valid_from is not None or price.valid_until is not None
    return (
        price.customer_group != "",
        dated,
        price.from_quantity,
        price.valid_from or _EARLIEST,
    )
