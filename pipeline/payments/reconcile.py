"""Reconciliation: what we say was done, beside what the gateway's own list says. It corrects nothing.

Both are looked at in a window [since, until), each by the time of who tells it, and looked for in
all that the other knows. What is under way is no difference:

- Nothing younger than `under_way` (an hour) is judged: by then an operation that was asked for has
  its answer here, and an event or a poll has told of what was done at the gateway.
- How far the list is read for that, pipeline.payments.gateway_list says.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal

from pipeline.errors import InvalidInput
from pipeline.money import to_text
from pipeline.payments.gateway import Gateway
from pipeline.payments.gateway_list import EDGE, listed
from pipeline.storage import clock, gateway_book
from pipeline.storage import reconciliation as storage
from pipeline.storage.database import Database

UNDER_WAY = timedelta(hours=1)

Kind = Literal["missing_here", "missing_there", "amount", "currency", "ended_differently"]


@dataclass(frozen=True, slots=True)
class Difference:
    """One thing on which we and the gateway differ: `ours` and `theirs` in words."""

    gateway: str
    kind: Kind
    order_id: int | None
    key: str
    at: datetime
    ours: str
    theirs: str
    found_at: datetime

    @property
    def sentence(self) -> str:
        order = "no order of ours" if self.order_id is None else f"order {self.order_id}"
        return (
            f"{order}: {_WORDS[self.kind]}: here {self.ours}, at {self.gateway} {self.theirs} "
            f"({self.key})"
        )


_WORDS: Mapping[Kind, str] = {
    "missing_here": "missing here",
    "missing_there": "missing there",
    "amount": "another amount",
    "currency": "another currency",
    "ended_differently": "ended differently",
}


@dataclass(frozen=True, slots=True)
class Reconciled:
    """What a run looked at, as [since, until), and what it found: how many differences by kind, how
    many of them were new, and how many of earlier ones it found gone."""

    gateway: str
    since: datetime
    until: datetime
    operations: int
    lines: int
    differences: Mapping[Kind, int]
    new: int
    cleared: int
    read_at: datetime

    @property
    def is_clean(self) -> bool:
        return not self.differences

    @property
    def total(self) -> int:
        return sum(self.differences.values())


def reconcile(
    database: Database,
    gateway: Gateway,
    since: datetime,
    until: datetime,
    *,
    under_way: timedelta = UNDER_WAY,
) -> Reconciled:
    """Compare [since, until) in both directions, and keep the differences.

    InvalidInput for a window of which nothing can be judged; GatewayAway if the list can't be read
    to its end: then nothing is kept.
    """
    with database.snapshot() as tx:
        read_at = clock.read(tx)
    until = min(until, read_at - under_way)
    if since >= until:
        raise InvalidInput(
            f"nothing to compare from {since:%Y-%m-%d %H:%M} on: what is younger than "
            f"{under_way} (since {read_at - under_way:%Y-%m-%d %H:%M} UTC) may be under way"
        )
    within = storage.scope(gateway.name, since, until, read_at)
    with listed(database, gateway, within) as pages, database.transaction() as tx:
        gateway_book.load(tx, pages, since - EDGE)
        cleared = storage.keep(tx, within)
        operations, lines = storage.counted(tx, within)
        found = storage.tally(tx, within)
        gateway_book.drop(tx)
    return Reconciled(
        gateway.name, since, until, operations, lines,
        {row.kind: row.differences for row in found}, sum(row.new for row in found), cleared,
        read_at,
    )  # fmt: skip


def differences(database: Database, found: Reconciled) -> Iterator[Difference]:
    """All that a run found, oldest first."""
    within = storage.scope(found.gateway, found.since, found.until, found.read_at)
    with database.snapshot() as tx:
        yield from map(_difference, storage.seen(tx, within))


def _difference(row: Any) -> Difference:
    return Difference(
        row.gateway, row.kind, row.order_id, row.key, row.at, _ours(row), _theirs(row), row.found_at
    )


def _ours(row: Any) -> str:
    if row.our_kind is None:
        return "nothing"
    ended = {"succeeded": "", "failed": ", failed"}.get(row.our_state, ", without an answer")
    return f"{_named(row.our_kind, row.our_amount, row.our_currency)}{ended}"


def _theirs(row: Any) -> str:
    if row.their_kind is None:
        return "nothing"
    times = f", listed {row.times} times" if row.times > 1 else ""
    return f"{_named(row.their_kind, row.their_amount, row.their_currency)}{times}"


def _named(kind: str, amount: int, currency: str) -> str:
    try:
        return f"{kind} {to_text(amount, currency)} {currency}"
    except InvalidInput:  # a list may hold anything
        return f"{kind} of {amount} minor units of {currency!r}"
