"""How much of a refund is net and how much is tax, so that a credit note needs no sum of its own. Pure.

An order's refunds are told in the order in which they were asked for, each once and for all: what a
later one fails or succeeds at changes nothing that was told. A refund by lines has the tax of its
lines' shares, one of an amount the share that what is left of the order holds. Neither ever takes
more net or more tax than is left; so refunds that come to all of an order have its net and its tax
to the cent.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from pipeline.payments.account import Operation, has_bounced
from pipeline.payments.refunds import SHIPPING, CancelledLine, Part
from pipeline.pricing.quote import Quote
from pipeline.pricing.rounding import half_up


@dataclass(frozen=True, slots=True)
class Split:
    """Minor units; together they are the refund's amount."""

    net: int
    tax: int


def splits(
    quote: Quote,
    cancelled: Iterable[CancelledLine],
    written: Iterable[Operation],
    parts: Mapping[str, Sequence[Part]],
) -> dict[str, Split]:
    """By key, what each refund among the operations that were `written` is made of; `parts` are
    those of refunds by lines, by key. Of `cancelled` lines, what was never paid is left out."""
    rest = _Rest(quote)
    rest.take(None, [Part(c.line_no, c.units, c.unpaid) for c in cancelled if c.unpaid])
    told: dict[str, Split] = {}
    standing: set[str] = set()
    succeeded: set[str] = set()
    for op in written:
        if op.kind != "refund":
            continue
        of = parts.get(op.key, ())
        if op.state != "failed":
            succeeded |= {op.key} if op.state == "succeeded" else set()
            if op.key not in standing:
                told[op.key] = rest.take(op.amount, of, told.get(op.key))
                standing.add(op.key)
        elif op.key in standing and (has_bounced(op) or op.key not in succeeded):
            rest.put_back(told[op.key], of)
            standing.remove(op.key)
    return told


@dataclass(slots=True)
class _Rest:
    """What of an order has not been refunded: its net and tax, and by line the gross that has."""

    quote: Quote
    gone: dict[int, int] = field(default_factory=lambda: defaultdict(int))
    net: int = field(init=False)
    tax: int = field(init=False)

    def __post_init__(self) -> None:
        self.net, self.tax = self.quote.net, self.quote.tax

    def take(self, amount: int | None, parts: Sequence[Part], known: Split | None = None) -> Split:
        """`amount` (None: all of the parts) for these parts, or for none in particular."""
        whole = sum(part.amount for part in parts)
        amount = whole if amount is None else amount
        split = known or self._split(amount, whole, parts)
        self.net, self.tax = self.net - split.net, self.tax - split.tax
        for part in parts:
            self.gone[part.line_no] += part.amount
        return split

    def put_back(self, split: Split, parts: Sequence[Part]) -> None:
        self.net, self.tax = self.net + split.net, self.tax + split.tax
        for part in parts:
            self.gone[part.line_no] -= part.amount

    def _split(self, amount: int, whole: int, parts: Sequence[Part]) -> Split:
        if whole:
            tax = half_up(sum(map(self._tax_of, parts)) * amount, whole)
        else:
            tax = half_up(max(0, self.tax) * amount, max(1, self.net + self.tax))
        most, least = min(amount, self.tax), amount - self.net
        tax = max(0, min(max(tax, least), most))
        return Split(amount - tax, tax)

    def _tax_of(self, part: Part) -> int:
        """What brings the line's tax to that of all that is refunded of it by then."""
        quote = self.quote
        line = quote.shipping if part.line_no == SHIPPING else quote.lines[part.line_no - 1]
        if line is None or not line.gross:
            return 0
        before = self.gone[part.line_no]
        until = min(before + part.amount, line.gross)
        return half_up(line.tax * until, line.gross) - half_up(line.tax * before, line.gross)
