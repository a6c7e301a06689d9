"""What rules write as decimals, as the integers that are calculated with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal

from pipeline.money import to_minor
from pipeline.pricing.rounding import Divide, half_up


class NoAmount(Exception):
    """A rule names no amount in the currency: it does not apply to an order in it."""


@dataclass(frozen=True, slots=True)
class Minor:
    """Reads the amounts of one currency: Minor("EUR")({"EUR": "4.90", "JPY": "500"}) is 490. With a
    `step` they are in steps of so many minor units, rounded by `divide`."""

    currency: str
    step: int = 1
    divide: Divide = half_up

    def __call__(self, amounts: Mapping[str, str]) -> int:
        return self.divide(self.exactly(amounts), self.step)

    def least(self, amounts: Mapping[str, str]) -> int:
        """The least amount in steps that reaches what is stated."""
        return -(-self.exactly(amounts) // self.step)

    def exactly(self, amounts: Mapping[str, str]) -> int:
        """In minor units, whatever the step."""
        if self.currency not in amounts:
            raise NoAmount(self.currency)
        return to_minor(amounts[self.currency], self.currency)

    def optional(self, amounts: Mapping[str, str] | None) -> int | None:
        """None where nothing is stated; what is stated must name an amount in the currency."""
        return None if amounts is None else self(amounts)


def percentage(percent: str) -> tuple[int, int]:
    """ "12.5" → (1, 8): the ratio, exactly."""
    return (Decimal(percent) / 100).as_integer_ratio()
