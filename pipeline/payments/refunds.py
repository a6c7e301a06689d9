"""What a refund by lines comes to. Pure.

A line's refund is its share of the line's gross. Of k units it is what brings the sum for the
line to its share of all units refunded by then, so one by one they add up to the gross exactly;
where the gateway takes no finer amounts, to that share rounded down to its step.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from pipeline.errors import InvalidInput
from pipeline.payments.account import Operation
from pipeline.pricing.quote import Quote, QuotedLine

#: Shipping goes by the line number that no line has.
SHIPPING = 0


@dataclass(frozen=True, slots=True)
class Part:
    """`units` of a line (or of SHIPPING, which is one unit) for `amount` minor units."""

    line_no: int
    units: int
    amount: int


@dataclass(frozen=True, slots=True)
class CancelledLine:
    """Units of a line that will never leave; `amount` is their share of its gross, `unpaid` what of
    that had not been captured. Minor units."""

    line_no: int
    sku: str
    units: int
    amount: int
    unpaid: int


def rows_of(refund: Operation, parts: Iterable[Part]) -> list[tuple[int, str, int, int, int]]:
    """What `refund` is for, as rows: order id, key, line number, units, amount."""
    return [(refund.order_id, refund.key, p.line_no, p.units, p.amount) for p in parts]


#: By line number, the units and the amount that are refunded or on their way.
Refunded = Mapping[int, tuple[int, int]]


def or_unpaid(refunded: Refunded, cancelled: Iterable[CancelledLine]) -> Refunded:
    """With what was cancelled before it was paid, which is as good as refunded. What was cancelled
    after that has a refund of its own."""
    found = dict(refunded)
    for c in cancelled:
        units, amount = found.get(c.line_no, (0, 0))
        found[c.line_no] = units + (c.units if c.unpaid == c.amount else 0), amount + c.unpaid
    return found


def parts(
    order_id: int,
    quote: Quote,
    refunded: Refunded,
    lines: Mapping[int, int],
    *,
    shipping: bool,
    step: int = 1,
) -> list[Part]:
    """The parts that so many units of `lines` (numbered from 1), and shipping, come to, in multiples
    of the `step` of the gateway that gives them back.

    InvalidInput where there is no such line, or fewer units are left.
    """
    found = [
        _line(order_id, quote, refunded, number, units, step)
        for number, units in sorted(lines.items())
    ]
    return found + ([_shipping(order_id, quote, refunded)] if shipping else [])


def _line(
    order_id: int, quote: Quote, refunded: Refunded, number: int, units: int, step: int
) -> Part:
    if not 1 <= number <= len(quote.lines):
        raise InvalidInput(
            f"order {order_id} has no line {number}; expected one from 1 to {len(quote.lines)}"
        )
    line = quote.lines[number - 1]
    done, amount = refunded.get(number, (0, 0))
    if units < 1 or done + units > line.quantity:
        raise InvalidInput(
            f"order {order_id}, line {number}: {line.quantity - done} of {line.quantity} units can "
            f"be refunded, {units} were asked for"
        )
    return Part(number, units, share(line, done + units, amount, step))


def share(line: QuotedLine, units: int, before: int, step: int) -> int:
    """What brings the sum for a line, `before` so far, to that of so many of its units: a multiple of
    `step`, but for the rest with the last of them."""
    if units < line.quantity:
        return max(0, line.gross * units // (line.quantity * step) * step - before)
    return max(0, line.gross - before)


def _shipping(order_id: int, quote: Quote, refunded: Refunded) -> Part:
    if quote.shipping is None:
        raise InvalidInput(f"order {order_id} paid for no shipping")
    if SHIPPING in refunded:
        raise InvalidInput(f"order {order_id}: its shipping is refunded already")
    return Part(SHIPPING, 1, quote.shipping.gross)
