"""Backorders: orders that wait for stock, and the one door through which an order gets its units.

Whoever frees units, or wants some, comes here: `lock`, change the levels, `serve`. Those who wait
come first, in order of acceptance; what they get is written in the same transaction. Who has all by
that, or is to be refused, is made due for the stage, which finds it.

Only the head of a queue is read: hardly more orders than there are free units. Which orders wait is
known only once the levels are locked, and which levels to lock only once it is known who waits; so
`lock` looks first, locks, and `serve` looks again. One who came in between is not served over
levels that aren't locked: nobody overtakes it, and it is made due, to take its own turn.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import Column, Float, Integer, String, bindparam, delete, func, insert, or_, select

from pipeline.inventory.allocation import Allotment, Demand, Level, Shelves
from pipeline.inventory.queue import Answer, Claim, Wait
from pipeline.inventory.queue import serve as decide
from pipeline.order import Order
from pipeline.pricing.redemption import Key, Purse, Use, keys_of, uses_of
from pipeline.storage import (
    catalogue,
    coupons,
    dispatches,
    levels,
    locations,
    orders,
    quotes,
    rules,
)
from pipeline.storage.database import Tx
from pipeline.storage.sql import UtcDateTime, ids, now, pack, rows
from pipeline.storage.tables import backorders, stock_movements

#: Orders of one SKU's queue that are served in one transaction; the next is woken for the rest.
MOST = 1_000
#: So many more are read than there are units for: some turn out to lack something else as well.
SPARE = 100


@dataclass(slots=True)
class Turn:
    """Levels that are locked, and the orders that may be served from them: those of a batch, which
    want an answer, and those who wait. `free` is to be changed as the levels are, `held` as to which
    of them are: whatever is freed there, nobody has it."""

    skus: frozenset[str]
    batch: Mapping[int, Order]
    waiting: Mapping[int, Order]
    uses: Mapping[int, list[Use]]
    free: Counter[Level] = field(default_factory=Counter)
    held: set[Level] = field(default_factory=set)


def lock(
    tx: Tx,
    batch: Sequence[Order] = (),
    *,
    skus: Iterable[str] = (),
    more: Mapping[Level, int] | None = None,
    coupon_keys: Collection[Key] = (),
    without: Collection[int] = (),
) -> Turn:
    """Lock the levels and the coupons of a batch, of `skus`, and of those who wait for any of them
    and may be served, but for those `without`. `more` units are about to be freed, and uses under
    `coupon_keys` to be given back."""
    wanted = frozenset(skus).union(*(demand_skus(order) for order in batch))
    mine = {order.id: order for order in batch}
    waiting = _heads(tx, wanted, more or {}, {*mine, *without})
    everyone = [*batch, *waiting.values()]
    uses = _uses(tx, everyone)
    every = wanted.union(*(demand_skus(o) for o in waiting.values()))
    turn = Turn(wanted, mine, waiting, uses, *levels.lock_available(tx, every))
    coupons.lock_used(tx, sorted({*keys_of(_flat(uses)), *coupon_keys}))
    return turn


def demand_skus(order: Order) -> set[str]:
    return {line.sku for line in order.lines}


def demand(order: Order, held: Sequence[Allotment] = ()) -> Demand:
    """What the order wants that it doesn't have yet, by the numbers of its lines."""
    lines = tuple((n, line.sku, line.quantity) for n, line in enumerate(order.lines, start=1))
    if not held:
        return Demand(order.id, lines, order.country, order.source.policy.allocation)
    has = Counter[int]()
    for each in held:
        has[each.line_no] += each.quantity
    rest = tuple((n, sku, units - has[n]) for n, sku, units in lines if units > has[n])
    at = frozenset(each.location for each in held)
    return Demand(order.id, rest, order.country, order.source.policy.allocation, at)


def _heads(
    tx: Tx, skus: Collection[str], more: Mapping[Level, int], without: set[int]
) -> dict[int, Order]:
    """Those who wait for any of `skus` and may be served from what is free."""
    queues = _queues(tx, skus, MOST)
    if not queues:
        return {}
    free = _by_sku(levels.available(tx, queues) + Counter(more))
    heads = set[int]()
    for sku, line in queues.items():
        others = [i for i in line if i not in without]
        heads.update(others[: free[sku] + SPARE] if free[sku] else [])
    return {one.order.id: one.order for one in orders.load(tx, heads)} if heads else {}


def _by_sku(free: Mapping[Level, int]) -> Counter[str]:
    """Units that may be promised, over all locations."""
    summed = Counter[str]()
    for (sku, _), units in free.items():
        summed[sku] += max(0, units)
    return summed


_last = backorders.alias("last")
_sku = rows(Column("sku", String), parameter="skus")
_QUEUES = (
    select(backorders.c.sku, backorders.c.order_id)
    .select_from(_sku.join(backorders, backorders.c.sku == _sku.c.sku))
    .where(
        backorders.c.order_id
        <= func.coalesce(
            select(_last.c.order_id)
            .where(_last.c.sku == _sku.c.sku)
            .order_by(_last.c.order_id)
            .limit(1)
            .offset(bindparam("most", type_=Integer))
            .scalar_subquery(),
            2**62,
        )
    )
    .order_by(backorders.c.sku, backorders.c.order_id)
)


def _queues(tx: Tx, skus: Iterable[str], most: int) -> dict[str, list[int]]:
    """The first `most` + 1 that wait for each SKU, in order of acceptance."""
    found: dict[str, list[int]] = defaultdict(list)
    for r in tx.execute(_QUEUES, {"skus": pack((s,) for s in sorted(set(skus))), "most": most}):
        found[r.sku].append(r.order_id)
    return found


def _uses(tx: Tx, everyone: Iterable[Order]) -> dict[int, list[Use]]:
    """The coupons that the orders' quotes used, by order id, with the limits of the rules that
    each was priced by."""
    giving = {order.id: order for order in everyone if order.coupons}
    if not giving:
        return {}
    redeemable = quotes.coupons(tx, giving)
    known = rules.numbered(tx, {(r.rules, r.version) for r in redeemable.values()})
    return {
        i: uses_of(giving[i], r.rules, known[(r.rules, r.version)].rules, r.codes)
        for i, r in redeemable.items()
    }


def _flat(uses: Mapping[int, Sequence[Use]]) -> list[Use]:
    return [use for its in uses.values() for use in its]


@dataclass(frozen=True, slots=True)
class _Row:
    """What an order waits for: since when, in which dispatch, and of each SKU how many units and
    since which movement."""

    units: Mapping[str, int]
    movements: Mapping[str, int]
    since: datetime
    dispatch_id: int | None


def serve(tx: Tx, turn: Turn, actor: str) -> dict[int, Answer]:
    """Give out what is free, and write it: reservations, uses of coupons, who waits for what; in the
    ledger under the name of the `actor` who brought it about. An answer for each order of the batch,
    by its id; one that has all its units already is among them."""
    held = _held(tx, [*turn.batch, *turn.waiting])
    for level in turn.held:
        del turn.free[level]
    free = _by_sku(turn.free)
    contested = {sku for sku, units in free.items() if units}
    # Of a batch, those who wait are in these queues too.
    units = max((free[sku] for sku in contested), default=0)
    most = min(MOST, units + SPARE) + len(turn.batch)
    queues = _queues(tx, contested, most) if contested else {}
    queued = {i for sku, line in queues.items() if sku in turn.skus for i in line[:most]}
    claimants = {i: o for i, o in turn.waiting.items() if i in queued} | dict(turn.batch)
    demands = {i: demand(o, held.get(i, ())) for i, o in claimants.items()}
    claims = [
        Claim(
            its,
            () if i in held else tuple(turn.uses.get(i, ())),
            keeps=claimants[i].source.policy.backorder == "keep",
            holds=i in held,
        )
        for i, its in demands.items()
        if its.lines
    ]
    shelves = Shelves(turn.free, locations.all_places(tx))
    purse = Purse(coupons.used_by(tx, _flat(turn.uses)))
    unread = _unread(queues, claimants, most)
    may_wait = _may_wait(tx, claims, shelves, queues)
    kept_back = {sku for sku, _ in turn.held}
    answers = decide(claims, shelves, purse, may_wait=may_wait, waiting=unread, held=kept_back)
    _write(tx, turn, answers, held, actor)
    next_ones = {
        sku: i
        for sku, i in unread.items()
        if shelves.free(sku) and not _awaited_before(sku, i, answers)
    }
    _queue(tx, turn, answers, next_ones)
    return {i: answers.get(i, []) for i in turn.batch}


def _held(tx: Tx, order_ids: Iterable[int]) -> dict[int, list[Allotment]]:
    """What these orders have already, by order id; one that has nothing is absent."""
    found: dict[int, list[Allotment]] = defaultdict(list)
    for each in levels.held(tx, order_ids):
        found[each.order_id].append(each)
    return dict(found)


def _awaited_before(sku: str, order_id: int, answers: Mapping[int, Answer]) -> bool:
    """Whether one accepted earlier waits for `sku`."""
    return any(i < order_id and isinstance(a, Wait) and sku in a.units for i, a in answers.items())


def _unread(
    queues: Mapping[str, Sequence[int]], known: Collection[int], most: int
) -> dict[str, int]:
    """By SKU, the first of those who wait for it that we don't know, or didn't come to."""
    unread: dict[str, int] = {}
    for sku, line in queues.items():
        strangers = (i for n, i in enumerate(line) if n == most or i not in known)
        first = next(strangers, None)
        if first is not None:
            unread[sku] = first
    return unread


def _may_wait(
    tx: Tx, claims: Iterable[Claim], shelves: Shelves, queues: Mapping[str, Sequence[int]]
) -> dict[str, bool]:
    """Of the SKUs that may fall short: whether their products may be waited for."""
    wanted = Counter[str]()
    for claim in claims:
        wanted.update(claim.demand.needed)
    tight = {sku for sku, units in wanted.items() if units > shelves.free(sku) or sku in queues}
    if not tight:
        return {}
    return {sku: p.backorder for sku, p in catalogue.products_by_sku(tx, tight).items()}


def _write(
    tx: Tx,
    turn: Turn,
    answers: Mapping[int, Answer],
    held: Mapping[int, Sequence[Allotment]],
    actor: str,
) -> None:
    given: dict[int, Sequence[Allotment]] = {}
    for i, answer in answers.items():
        taken = answer.taken if isinstance(answer, Wait) else answer
        if isinstance(taken, Sequence) and taken:
            given[i] = taken
    allotments = [each for its in given.values() for each in its]
    before = [each for i in given.keys() & held.keys() for each in held[i]]
    levels.reserve(tx, allotments, actor, awaited=turn.waiting, held=before)
    first = given.keys() - held.keys()
    coupons.redeem(tx, [use for i in given if i in first for use in turn.uses.get(i, ())])


def _queue(tx: Tx, turn: Turn, answers: Mapping[int, Answer], next_ones: Mapping[str, int]) -> None:
    """Keep the queue: who has left it, who joined, who waits for something else. Those outside the
    batch who have all, or are to be refused, are made due, to see it: by the stage's own hand. So
    are `next_ones`, by the SKU that is there for them, if anybody has made way there."""
    before = _rows(tx, {*answers, *turn.batch, *next_ones.values()})
    after = {i: a.units for i, a in answers.items() if isinstance(a, Wait)}
    changed = [i for i in sorted({*answers, *turn.batch}) if _awaits(before, i) != after.get(i, {})]
    if leaving := [i for i in changed if i in before]:
        remove(tx, leaving)
    if joining := {i: after[i] for i in changed if i in after}:
        _join(tx, joining, before)
    moved = turn.skus.union(*(before[i].units.keys() - after.get(i, {}).keys() for i in leaving))
    woken = {i for i in turn.waiting if i in answers and i not in after}
    woken |= {i for sku, i in next_ones.items() if sku in moved}
    woken -= turn.batch.keys()
    where = {row.dispatch_id for i in woken if (row := before.get(i)) and row.dispatch_id}
    if where:
        dispatches.hasten(tx, dispatches.lock_by_id(tx, where), woken)


def _awaits(rows_by_id: Mapping[int, _Row], order_id: int) -> Mapping[str, int]:
    row = rows_by_id.get(order_id)
    return row.units if row else {}


_ROWS = select(backorders).where(backorders.c.order_id.in_(ids()))


def _rows(tx: Tx, order_ids: Iterable[int]) -> dict[int, _Row]:
    found: dict[int, list[Any]] = defaultdict(list)
    for r in tx.execute(_ROWS, {"ids": pack(order_ids)}):
        found[r.order_id].append(r)
    return {
        i: _Row(
            {r.sku: r.units for r in its},
            {r.sku: r.movement for r in its},
            min(r.since for r in its),
            its[0].dispatch_id,
        )
        for i, its in found.items()
    }


_REMOVE = delete(backorders).where(backorders.c.order_id.in_(ids()))


def remove(tx: Tx, order_ids: Iterable[int]) -> None:
    """These wait no longer. The caller holds the locks of the levels of all their SKUs."""
    tx.execute(_REMOVE, {"ids": pack(order_ids)})


_waits = rows(
    backorders.c.sku, backorders.c.order_id, backorders.c.dispatch_id, backorders.c.units,
    backorders.c.since, backorders.c.movement,
)  # fmt: skip
_newest = select(func.coalesce(func.max(stock_movements.c.id), 0)).scalar_subquery()
_JOIN = insert(backorders).from_select(
    ["sku", "order_id", "dispatch_id", "units", "since", "movement"],
    select(
        _waits.c.sku, _waits.c.order_id, _waits.c.dispatch_id, _waits.c.units,
        func.coalesce(_waits.c.since, now()), func.coalesce(_waits.c.movement, _newest),
    ),
)  # fmt: skip


def _join(tx: Tx, awaits: Mapping[int, Mapping[str, int]], before: Mapping[int, _Row]) -> None:
    """The dispatch of one that joins is told when it is written (`dispatches.add`)."""
    packed: list[tuple[object, ...]] = []
    for i, units in awaits.items():
        row = before.get(i)
        where, since = (row.dispatch_id, row.since) if row else (None, None)
        packed += [
            (sku, i, where, n, since, row.movements.get(sku) if row else None)
            for sku, n in sorted(units.items())
        ]
    tx.execute(_JOIN, {"rows": pack(packed)})


_limit = rows(
    backorders.c.order_id, Column("seconds", Float), Column("until", UtcDateTime)
)  # fmt: skip
_OVERDUE = (
    select(backorders.c.order_id)
    .join(_limit, _limit.c.order_id == backorders.c.order_id)
    .where(
        backorders.c.since <= now(-_limit.c.seconds),
        or_(_limit.c.until.is_(None), _limit.c.until <= now()),
    )
    .distinct()
)


@dataclass(frozen=True, slots=True)
class Limit:
    """An order may wait for so many seconds; and, if a person said so, `until` a time at least."""

    order_id: int
    seconds: float
    until: datetime | None = None


def overdue(tx: Tx, limits: Sequence[Limit]) -> set[int]:
    """The orders that have waited for longer than their limits."""
    if not limits:
        return set()
    given = pack((each.order_id, each.seconds, each.until) for each in limits)
    return set(tx.execute(_OVERDUE, {"rows": given}).scalars())
