"""The stock of a shop kept once more, naively: in dicts, with nothing taken from the shop's own code.

`Books` predicts what is on hand and which movement is refused; `breaches` says what is wrong with
what was seen in the database after a step, given what was seen before it.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

Level = tuple[str, str]  # (sku, location)
LineKey = tuple[int, int]  # (order, line number)
OVER = ("rejected", "cancelled")
PAST_RESERVE = {
    "capture_first": ("reserved", "confirmed"),
    "reserve_first": ("reserved", "paid", "confirmed"),
}


class Books:
    """Movements with the time they count for. Times are numbers: somebody takes a look around at
    the marks 1, 2, …; what is moved between two of them is moved at a half."""

    def __init__(self) -> None:
        self.moved: list[tuple[float, Level, int]] = []
        self.counted: list[tuple[float, Level]] = []
        self.safety: dict[Level, int] = {}
        self.shipped = Counter[LineKey]()
        self.returned = Counter[LineKey]()
        self.marks = 0

    @property
    def now(self) -> float:
        return self.marks + 0.5

    def on_hand(self, level: Level, at: float = math.inf) -> int:
        return sum(units for when, its, units in self.moved if its == level and when <= at)

    def move(self, level: Level, units: int) -> None:
        self.moved.append((self.now, level, units))

    def is_superseded(self, level: Level, at: float) -> bool:
        """Whether the level was counted later than that."""
        return any(when > at for when, its in self.counted if its == level)

    def count(self, level: Level, units: int, at: float | None) -> None:
        difference = units - self.on_hand(level, math.inf if at is None else at)
        when = self.now if at is None else at
        self.moved.append((when, level, difference))
        self.counted.append((when, level))


@dataclass
class Seen:
    """What the tables say at one moment."""

    #: (on hand, reserved, safety), and the sums of the movements: on hand, promised, to which order.
    levels: dict[Level, tuple[int, int, int]] = field(default_factory=dict)
    ledger: Counter[Level] = field(default_factory=Counter)
    promised: Counter[Level] = field(default_factory=Counter)
    promised_to: Counter[int] = field(default_factory=Counter)
    #: Units by line and location; and what each line was for.
    held: dict[tuple[LineKey, str], int] = field(default_factory=dict)
    held_sku: dict[LineKey, str] = field(default_factory=dict)
    shipped: Counter[LineKey] = field(default_factory=Counter)
    cancelled: Counter[LineKey] = field(default_factory=Counter)
    #: Who waits for each SKU, in order of acceptance, and for how many units; and who of them will
    #: be looked at anyway.
    queues: dict[str, list[int]] = field(default_factory=dict)
    awaited: Counter[tuple[int, str]] = field(default_factory=Counter)
    looked_at: set[int] = field(default_factory=set)
    orders: dict[int, tuple[str, str, str, str | None]] = field(default_factory=dict)
    """(external id, chain, status, reason)"""
    redeemed: Counter[str] = field(default_factory=Counter)

    @property
    def holders(self) -> set[int]:
        return {order for (order, _), _ in self.held}

    @property
    def waiting(self) -> set[int]:
        return {order for order, _ in self.awaited}

    @property
    def units(self) -> Counter[tuple[int, str]]:
        """What each order holds of each SKU."""
        found = Counter[tuple[int, str]]()
        for (line, _), units in self.held.items():
            found[line[0], self.held_sku[line]] += units
        return found

    def reserved(self, level: Level) -> int:
        return self.levels.get(level, (0, 0, 0))[1]

    def free(self, sku: str) -> int:
        """What may be promised, wherever it is; a level that has less than its safety stock takes
        nothing from the others."""
        return sum(
            max(0, on_hand - reserved - safety)
            for (its, _), (on_hand, reserved, safety) in self.levels.items()
            if its == sku
        )


@dataclass(frozen=True)
class Wanted:
    """What an order was sent with: (sku, units) of its lines, numbered from 1. `keeps`: it takes
    what there is while it waits for the rest."""

    lines: Sequence[tuple[str, int]]
    keeps: bool

    def units(self, sku: str) -> int:
        return sum(units for its, units in self.lines if its == sku)


def breaches(
    seen: Seen, before: Seen, books: Books, wanted: Mapping[str, Wanted], limits: Mapping[str, int]
) -> Iterator[str]:
    """All that is wrong, in words. `wanted` is by external id, `limits` by coupon."""
    yield from _of_levels(seen, books)
    if seen.shipped != books.shipped:
        yield f"{seen.shipped} were shipped, {books.shipped} by our books"
    yield from _of_orders(seen, wanted)
    yield from _of_queues(seen, before, wanted)
    for code, uses in seen.redeemed.items():
        if uses > limits.get(code, uses):
            yield f"coupon {code} is used {uses} times, {limits[code]} are allowed"


def _of_levels(seen: Seen, books: Books) -> Iterator[str]:
    promised = Counter[Level]()
    for (line, location), units in seen.held.items():
        promised[seen.held_sku[line], location] += units
    there = {level for _, level, _ in books.moved} | seen.levels.keys() | promised.keys()
    for level in there:
        on_hand, reserved, safety = seen.levels.get(level, (0, 0, 0))
        if on_hand != books.on_hand(level):
            yield f"{level}: {on_hand} on hand, {books.on_hand(level)} by our books"
        if on_hand != seen.ledger[level]:
            yield f"{level}: {on_hand} on hand, the movements sum to {seen.ledger[level]}"
        if reserved != promised[level]:
            yield f"{level}: {reserved} reserved, {promised[level]} promised to orders"
        if reserved != seen.promised[level]:
            yield f"{level}: {reserved} reserved, the movements promise {seen.promised[level]}"
        if not 0 <= reserved <= on_hand:
            yield f"{level}: {reserved} reserved of {on_hand} on hand"
        if safety != books.safety.get(level, 0):
            yield f"{level}: {safety} safety stock, {books.safety.get(level, 0)} by our books"
    to = Counter[int]()
    for ((order, _), _), units in seen.held.items():
        to[order] += units
    if to != seen.promised_to:
        yield f"{to} are held by orders, the movements promise {seen.promised_to}"


def _of_orders(seen: Seen, wanted: Mapping[str, Wanted]) -> Iterator[str]:
    """Nobody holds more than they want; who is past the stock has all; and what is due to each status."""
    held = seen.holders
    ours = Counter(seen.shipped) + seen.cancelled
    for (line, _), units in seen.held.items():
        ours[line] += units
    for order, (external_id, chain, status, reason) in seen.orders.items():
        lines = list(enumerate(wanted[external_id].lines, start=1))
        whole = {(order, n): units for n, (_, units) in lines}
        its = {line: ours[line] for line in whole if ours[line]}
        if its and its != whole and status in PAST_RESERVE[chain]:
            yield f"order {order} holds or had {its}, a part of {whole}"
        if any(units > whole[line] for line, units in its.items()):
            yield f"order {order} holds or had {its}, more than {whole}"
        if any(seen.held_sku.get((order, n), sku) != sku for n, (sku, _) in lines):
            yield f"order {order} holds what it did not want"
        if status in PAST_RESERVE[chain] and not its:
            yield f"order {order} is {status} and holds nothing"
        if status != "confirmed" and any(seen.shipped[line] for line in whole):
            yield f"order {order} is {status} and was shipped"
        if status in OVER and (order in held or order in seen.waiting):
            yield f"order {order} is {status} and holds or waits for units"
        if status == "backordered" and order not in seen.waiting | seen.looked_at:
            yield f"order {order} is backordered and waits for nothing"
        if reason == "defect":
            yield f"order {order} met a defect"


def _of_queues(seen: Seen, before: Seen, wanted: Mapping[str, Wanted]) -> Iterator[str]:
    """Who waits waits for the rest, and keeps what it has; nobody overtakes; nobody waits for what
    is there."""
    units, units_before = seen.units, before.units
    for order in seen.waiting:
        its = wanted[seen.orders[order][0]]
        for sku in {sku for sku, _ in its.lines}:
            lacks = its.units(sku) - units[order, sku]
            if seen.awaited[order, sku] != lacks:
                yield f"order {order} waits for {seen.awaited[order, sku]} {sku}, and lacks {lacks}"
            if order in before.waiting and units[order, sku] < units_before[order, sku]:
                yield f"order {order} waits, and had to give back {sku}"
            if not its.keeps and units[order, sku]:
                yield f"order {order} has {units[order, sku]} {sku}, and keeps nothing while it waits"
    for order, sku in units - units_before:
        patient = set(before.queues.get(sku, ())) & set(seen.queues.get(sku, ()))
        if any(earlier < order for earlier in patient):
            yield f"order {order} has {sku}, and {min(patient)} waits for it"
    for order in seen.waiting - seen.looked_at:
        status = seen.orders[order][2]
        skus = [sku for i, sku in seen.awaited if i == order]
        there = [
            sku
            for sku in skus
            if seen.queues[sku][0] == order and seen.free(sku) >= seen.awaited[order, sku]
        ]
        some = [sku for sku in skus if seen.queues[sku][0] == order and seen.free(sku)]
        keeps = wanted[seen.orders[order][0]].keeps
        if status != "on_hold" and ((keeps and some) or there == skus):
            yield f"order {order} waits for {some}, which are there, and nobody is told"
