"""The catalogue's price for a line: of all that fit, the best fitting."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
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


#: (SKU, currency).
Item = tuple[str, str]


@dataclass(frozen=True, slots=True)
class PriceBook:
    """Catalogue prices: those on record `now` and, for moments before one of an item's was recorded,
    those on record `then`."""

    now: Mapping[Item, Sequence[ListPrice]]
    then: Mapping[tuple[Item, datetime], Sequence[ListPrice]] = field(default_factory=dict)

    def on_record(self, item: Item, moment: datetime) -> Sequence[ListPrice]:
        """All prices of `item` that were on record at `moment`, in force or not."""
        if self.then and (item, moment) in self.then:
            return self.then[item, moment]
        return self.now.get(item, ())


@dataclass(frozen=True, slots=True)
class Record:
    """A price and since when it is, or was, on record; None: since ever."""

    price: ListPrice
    since: datetime | None

    def is_there(self, moment: datetime) -> bool:
        return self.since is None or self.since <= moment


def on_record(records: Sequence[Record], moment: datetime) -> list[ListPrice]:
    """Of an item's prices, each as it was at `moment` or, if it was recorded later, as it was first:
    those that were there. If none was yet, all of them as they were first."""
    there = [record.price for record in records if record.is_there(moment)]
    return there or [record.price for record in records]


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
