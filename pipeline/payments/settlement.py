"""The settlement of a window of time: what moved, by gateway and currency, and beside it what the
gateway's own list says.

We count an operation when we knew that it had succeeded, the gateway when it did it. So the same
one may fall into different windows: that part of a difference is told apart, as `at_edges`. What
remains of it is what a reconciliation names.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime
from itertools import chain

from pipeline.payments.gateway import Gateway
from pipeline.payments.gateway_list import keeps_list, listed
from pipeline.payments.gateways import moves_money
from pipeline.storage import clock, gateway_book
from pipeline.storage import settlement as storage
from pipeline.storage.database import Database
from pipeline.storage.reconciliation import scope
from pipeline.storage.settlement import Sum, Sums

NONE = Sum()
AUTHORIZED, INVOICES = "authorized, open", "invoices open"


@dataclass(frozen=True, slots=True)
class Figure:
    """One figure of an account, in minor units. `theirs` is None where the gateway tells nothing;
    `at_edges` is how much of `difference` both know of, each in another window."""

    name: str
    ours: Sum
    theirs: Sum | None = None
    at_edges: int = 0

    @property
    def difference(self) -> int | None:
        return None if self.theirs is None else self.ours.amount - self.theirs.amount

    @property
    def unexplained(self) -> int:
        return 0 if self.difference is None else self.difference - self.at_edges


@dataclass(frozen=True, slots=True)
class Account:
    """One currency at one gateway. `fees` are None where the gateway tells none, and then `net` is
    before fees. `disputed` are the disputes open at the window's end, `standing` what is authorized
    by then and neither captured nor voided: on invoice terms, the invoices open."""

    gateway: str
    currency: str
    captured: Figure
    refunded: Figure
    lost: Figure
    fees: int | None
    disputed: Figure
    standing: Figure

    @property
    def net(self) -> Figure:
        """What is left of what was captured."""
        minuend, subtrahends = self.captured, (self.refunded, self.lost)
        ours = minuend.ours.amount - sum(f.ours.amount for f in subtrahends) - (self.fees or 0)
        theirs = None
        if minuend.theirs is not None:
            taken = sum(f.theirs.amount for f in subtrahends if f.theirs is not None)
            theirs = Sum(0, minuend.theirs.amount - taken - (self.fees or 0))
        at_edges = minuend.at_edges - sum(f.at_edges for f in subtrahends)
        return Figure("net", Sum(0, ours), theirs, at_edges)

    @property
    def figures(self) -> tuple[Figure, ...]:
        return self.captured, self.refunded, self.lost, self.net, self.disputed, self.standing


@dataclass(frozen=True, slots=True)
class Settlement:
    """What moved in [since, until), by gateway and currency."""

    since: datetime
    until: datetime
    made_at: datetime
    accounts: tuple[Account, ...]

    @property
    def is_explained(self) -> bool:
        """Whether we and the gateways agree, but for what lies at the edges."""
        return not any(figure.unexplained for a in self.accounts for figure in a.figures)


def settle(
    database: Database,
    gateways: Mapping[str, Gateway],
    since: datetime,
    until: datetime,
    *,
    only: str | None = None,
) -> Settlement:
    """The settlement of [since, until), as far as it is past, at all gateways or `only` one.

    Raises GatewayAway if a gateway's list can't be read to its end: half a comparison is none.
    """
    with database.snapshot() as tx:
        made_at = clock.read(tx)
    past = max(since, min(until, made_at))
    comparing = {
        name: gateway
        for name, gateway in gateways.items()
        if keeps_list(gateway) and only in (None, name)
    }
    with ExitStack() as stack:
        # The lists first, the snapshot after them.
        lists = [
            stack.enter_context(listed(database, gateway, scope(name, since, past, made_at)))
            for name, gateway in comparing.items()
        ]
        tx = stack.enter_context(database.snapshot())
        gateway_book.load(tx, chain.from_iterable(lists))
        sums = storage.read(tx, scope("", since, past, made_at))
    accounts = [a for a in _accounts(sums, comparing) if only in (None, a.gateway)]
    return Settlement(since, until, made_at, tuple(accounts))


def _accounts(sums: Sums, compared: Collection[str]) -> Iterator[Account]:
    """Pure: an account for each gateway and currency that anything is told of, `compared` or not."""
    told = {(gateway, currency) for gateway, currency, _ in sums.told}
    for gateway, currency in sorted(told):
        yield _account(sums, gateway, currency, is_compared=gateway in compared)


def _account(sums: Sums, gateway: str, currency: str, *, is_compared: bool) -> Account:
    def moved(name: str, kind: str) -> Figure:
        key = (gateway, currency, kind)
        theirs = sums.theirs.get(key, NONE) if is_compared else None
        there, here = sums.elsewhere_there.get(key, NONE), sums.elsewhere_here.get(key, NONE)
        return Figure(name, sums.ours.get(key, NONE), theirs, there.amount - here.amount)

    def stands(name: str, kind: str) -> Figure:
        return Figure(name, sums.standing.get((gateway, currency, kind), NONE))

    return Account(
        gateway,
        currency,
        captured=moved("captured", "capture"),
        refunded=moved("refunded", "refund"),
        lost=moved("disputes lost", "dispute"),
        fees=sums.fees.get((gateway, currency)),
        disputed=stands("disputes open", "dispute"),
        standing=stands(AUTHORIZED if moves_money(gateway) else INVOICES, "authorize"),
    )
