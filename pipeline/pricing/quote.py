"""The quote: from lines, unit prices and a tax rate to amounts that add up to the minor unit.

Rounding is a policy: `unit` rounds each unit's tax and multiplies, `line` rounds each line's,
`document` rounds once over all lines and spreads what is left by largest remainder. Whatever the
policy, the lines' net, tax and gross sum to the order's.

3 × 1.08 at 19 % costs 3.86 rounded by line and 3.87 by unit.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from pipeline.money import round_minor


@dataclass(frozen=True, slots=True)
class PricedLine:
    """A line with its unit price in minor units."""

    sku: str
    quantity: int
    unit_price: int


@dataclass(frozen=True, slots=True)
class QuotedLine:
    """A line as quoted: amounts in minor units, net + tax = gross; tax_rate a fraction as text."""

    sku: str
    quantity: int
    unit_price: int
    tax_rate: str
    net: int
    tax: int
    gross: int


@dataclass(frozen=True, slots=True)
class Quote:
    """What an order costs: net + tax = total, each the sum over the lines."""

    lines: tuple[QuotedLine, ...]
    net: int
    tax: int
    total: int
    includes_tax: bool
    rounding_mode: str
    rounding_level: str


def quote(
    lines: Sequence[PricedLine],
    tax_rate: Decimal,
    *,
    includes_tax: bool,
    rounding_mode: str,
    rounding_level: str,
) -> Quote:
    """Price `lines` at one tax rate (0.19). `includes_tax` says what the unit prices are."""
    taxes = _taxes(lines, tax_rate, includes_tax, rounding_mode, rounding_level)
    quoted = tuple(
        _line(line, tax, tax_rate, includes_tax) for line, tax in zip(lines, taxes, strict=True)
    )
    return Quote(
        quoted,
        sum(x.net for x in quoted),
        sum(x.tax for x in quoted),
        sum(x.gross for x in quoted),
        includes_tax,
        rounding_mode,
        rounding_level,
    )


def largest_remainder(total: int, weights: Sequence[Decimal]) -> list[int]:
    """Split `total` ≥ 0 by `weights`; what rounding leaves over goes to the largest remainders,
    ties to the first. All-zero weights count as equal.

    Weights 4300, 1400, 2300 share 299 as 161, 52, 86.
    """
    if not any(weights):
        weights = [Decimal(1)] * len(weights)
    whole = sum(weights)
    exact = [total * weight / whole for weight in weights]
    shares = [int(share) for share in exact]
    by_remainder = sorted(range(len(exact)), key=lambda i: (shares[i] - exact[i], i))
    for i in by_remainder[: total - sum(shares)]:
        shares[i] += 1
    return shares


def _taxes(
    lines: Sequence[PricedLine], rate: Decimal, includes_tax: bool, mode: str, level: str
) -> list[int]:
    """The tax of each line in minor units."""
    whole = 1 + rate if includes_tax else Decimal(1)

    def tax(amount: int) -> Decimal:
        return amount * rate / whole  # divided last: a half must come out as a half

    if level == "unit":
        return [round_minor(tax(line.unit_price), mode) * line.quantity for line in lines]
    exact = [tax(line.unit_price * line.quantity) for line in lines]
    if level == "line":
        return [round_minor(amount, mode) for amount in exact]
    return largest_remainder(round_minor(sum(exact, Decimal(0)), mode), exact) if lines else []


def _line(line: PricedLine, tax: int, rate: Decimal, includes_tax: bool) -> QuotedLine:
    amount = line.unit_price * line.quantity
    net = amount - tax if includes_tax else amount
    return QuotedLine(
        line.sku, line.quantity, line.unit_price, f"{rate.normalize():f}", net, tax, net + tax
    )
