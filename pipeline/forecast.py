"""Which of the last orders would now wait for a person, or be refused, before the first one does.

Each is read again as its source sent it, and priced as of its own moment, by the code, the rules and
the policies of today. Nothing is written, no gateway and no other service is asked. Stock, coupons
that are used up and declined cards are of the moment, not of the code: they are left out.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from pipeline.intake.accept import missing_prices, read_for
from pipeline.intake.schema import Document, as_sent
from pipeline.order import Order, Status
from pipeline.outcome import Hold, Reject
from pipeline.payments.choice import AT_HOME, GatewayChoice
from pipeline.stages import price
from pipeline.storage import recent_orders
from pipeline.storage.database import Database

#: Orders that are looked at in one snapshot.
PAGE = 500
#: Orders that are named for each reason.
MOST_EXAMPLES = 5

#: It would not be taken in; it would be rejected once it is priced; it would wait for a person.
End = Literal["refused", "rejected", "on_hold"]


@dataclass(frozen=True, slots=True)
class Fate:
    """What would become of an order that went its way: the reason, or the field and what it expects."""

    end: End
    reason: str


@dataclass(slots=True)
class Finding:
    """Orders that share a fate: how many, of which sources, and the first few by their ids."""

    fate: Fate
    orders: int = 0
    sources: set[str] = field(default_factory=set)
    examples: list[int] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Forecast:
    """`looked_at`: orders accepted in that time; `unknown`: those whose person was erased since, so
    that they can't be read again. Findings, the most orders first."""

    looked_at: int
    unknown: int
    findings: list[Finding]


def forecast(
    database: Database,
    seconds: float,
    progress: Callable[[int], None] = lambda looked_at: None,
    choice: GatewayChoice = AT_HOME,
) -> Forecast:
    """Look at the orders accepted in the last `seconds` of the database's clock, the newest first;
    `progress` is called with how many were looked at so far. Archived orders are not among them."""
    found: dict[Fate, Finding] = {}
    looked_at = unknown = 0
    for page in _pages(database, seconds, choice):
        looked_at += len(page.orders)
        unknown += page.erased
        for order, fate in page.fates:
            finding = found.setdefault(fate, Finding(fate))
            finding.orders += 1
            finding.sources.add(order.source.name)
            if len(finding.examples) < MOST_EXAMPLES:
                finding.examples.append(order.id)
        progress(looked_at)
    ranked = sorted(found.values(), key=lambda f: (-f.orders, f.fate.end, f.fate.reason))
    return Forecast(looked_at, unknown, ranked)


@dataclass(frozen=True, slots=True)
class _Page:
    """Orders that were looked at together, and those of them that would not go their way."""

    orders: Sequence[Order]
    erased: int
    fates: Sequence[tuple[Order, Fate]]


def _pages(database: Database, seconds: float, choice: GatewayChoice) -> Iterator[_Page]:
    below: int | None = None
    while True:
        with database.snapshot() as tx:
            recent = recent_orders.page(tx, seconds, below, PAGE)
            if not recent.orders:
                return
            known = [order for order in recent.orders if order.id not in recent.erased]
            fates = list(_fates(known, price.look_up(tx, known, by_newest=True), choice))
        below = recent.orders[-1].id
        yield _Page(recent.orders, len(recent.erased), fates)


def _fates(
    known: Sequence[Order], facts: price.Facts, choice: GatewayChoice
) -> Iterator[tuple[Order, Fate]]:
    """Pure: the orders that would not go their way, each with what would become of it."""
    # Their own uses are among those that are counted, and would stand in their way.
    facts = replace(facts, used={})
    for order in known:
        fate = _refusal(order) or _unpaid(order, choice) or _verdict(order, facts)
        # One that was rejected or is held for the same already is no news.
        if fate and not (order.status in _STOPPED and order.reason == fate.reason):
            yield order, fate


_STOPPED = frozenset({Status.REJECTED, Status.ON_HOLD})


def _refusal(order: Order) -> Fate | None:
    read = read_for(order.source, as_sent(order.document))
    if isinstance(read, Document):
        if missing := missing_prices(order.source, read):
            return Fate("refused", f"lines.unit_price: expected {missing[0].expected}")
        if not read.unlisted:
            return None
        return Fate("refused", f"{read.unlisted[0].field}: expected {read.unlisted[0].expected}")
    problem = read.problems[0]
    return Fate("refused", f"{problem.field}: expected {problem.expected}")


def _unpaid(order: Order, choice: GatewayChoice) -> Fate | None:
    return None if choice.of(order.source.policy) else Fate("on_hold", "no_gateway")


def _verdict(order: Order, facts: price.Facts) -> Fate | None:
    _, found = price.quote(order, facts)
    outcome = price.decide(order, found)
    match outcome:
        case Hold(reason=reason):
            return Fate("on_hold", reason)
        case Reject(reason=reason):
            return Fate("rejected", reason)
        case _:
            return None
