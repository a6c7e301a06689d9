"""Accepting orders: the one door in. A verdict says what became of each; accepted means durable."""

from __future__ import annotations

import threading
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from operator import itemgetter
from typing import Any

from pipeline.chain import FIRST_STAGE
from pipeline.intake.schema import Document, InvalidOrder, read_order
from pipeline.order import Lane, lookup_keys
from pipeline.problems import Problem, first_of
from pipeline.shoppers import PORTION, Shoppers
from pipeline.source import Source
from pipeline.storage import archive, clock, dispatches, intake
from pipeline.storage.database import Database, Tx
from pipeline.storage.dispatches import NewDispatch
from pipeline.telemetry import metrics, tracing

#: Orders in one dispatch: what the engine takes at once. A larger one could not be absorbed whole.
DISPATCH_SIZE = 500


#: By how much the clocks of two systems may differ: what seems to be placed so soon is placed now.
CLOCKS_DIFFER = timedelta(minutes=5)


class Verdict(StrEnum):
    ACCEPTED = "accepted"
    DUPLICATE = "duplicate"  # the same order again: the id it has
    CONFLICT = "conflict"  # the same external_id with another content
    REJECTED = "rejected"


@dataclass(frozen=True, slots=True)
class Receipt:
    """What became of one order sent. `order_id` unless rejected; `problems` if rejected or in conflict,
    up to 100 of them; `more` is how many others there are."""

    verdict: Verdict
    external_id: str | None
    order_id: int | None = None
    problems: tuple[Problem, ...] = ()
    more: int = 0

    @property
    def reasons(self) -> list[str]:
        """The problems as sentences, and how many others there are."""
        others = [f"and {self.more:,} more"] if self.more else []
        return [*map(str, self.problems), *others]


#: An order offered: whose, the document (or what is to be read as one), the trace that it belongs to.
_Offered = tuple[Source, Any, str | None]


class Intake:
    """Takes orders in; call from any number of threads."""

    def __init__(
        self,
        database: Database,
        announce: Callable[[Sequence[tuple[str, int]]], None],
        dispatch_size: int = DISPATCH_SIZE,
    ) -> None:
        self._database = database
        self._announce = announce
        self._dispatch_size = min(dispatch_size, DISPATCH_SIZE)
        self._group = _GroupCommit(self._commit)
        self._shoppers = Shoppers()

    @property
    def has_shoppers(self) -> bool:
        """Whether interactive orders come in here one by one, beside whatever else does."""
        return self._shoppers.expected

    def accept(self, source: Source, data: Any) -> Receipt:
        """Take one order in, and wait for it."""
        return self.offer(source, data).result()

    def offer(self, source: Source, data: Any) -> Future[Receipt]:
        """Take one order in; its receipt comes, or what went wrong, once it is durable. Orders share
        commits: what is offered while one is under way goes with the next. The caller's thread reads
        the order, as that can be done during a commit; it doesn't wait. The order's trace is that of
        the caller."""
        if Lane(source.policy.lane) is Lane.INTERACTIVE:
            self._shoppers.came()
        read = read_for(source, data)
        if isinstance(read, Document):
            return self._group.submit((source, read, tracing.current()))
        _count([read])
        refused: Future[Receipt] = Future()
        refused.set_result(read)
        return refused

    def has(self, source: Source, external_id: str) -> bool:
        """Whether that order of the source was accepted before; it may be in the archive by now."""
        key = [(source.id, external_id)]
        with self._database.snapshot() as tx:
            return bool(intake.find(tx, key) or archive.find(tx, key))

    def accept_all(self, source: Source, batch: Sequence[Any]) -> list[Receipt]:
        """Take many in with one commit; one receipt each, in the order given. Each order begins a
        trace of its own."""
        return self._commit([(source, data, None) for data in batch])

    def _commit(self, batch: Sequence[_Offered]) -> list[Receipt]:
        read = [read_for(source, data) for source, data, _ in batch]
        with self._database.transaction() as tx:
            read = _may_be_new(tx, [source for source, *_ in batch], read)
            sound = [
                (source, document, traceparent)
                for (source, _, traceparent), document in zip(batch, read, strict=True)
                if isinstance(document, Document)
            ]
            stored, made = _store(tx, sound, self._dispatch_size) if sound else ({}, [])
        self._announce([(FIRST_STAGE, dispatch_id) for dispatch_id in made])
        seen: set[tuple[int, str]] = set()
        receipts = [
            document if isinstance(document, Receipt) else _receipt(source, document, stored, seen)
            for (source, *_), document in zip(batch, read, strict=True)
        ]
        _count(receipts)
        return receipts


def _count(receipts: Sequence[Receipt]) -> None:
    for verdict, orders_ in Counter(r.verdict for r in receipts).items():
        metrics.INTAKE.labels(verdict.value).inc(orders_)


def read_for(source: Source, data: Any) -> _Read:
    """`data` (a decoded JSON object) as its source's order; a receipt says why it is none."""
    try:
        document = data if isinstance(data, Document) else read_order(data)
    except InvalidOrder as error:
        return Receipt(Verdict.REJECTED, error.external_id, None, tuple(error.problems), error.more)
    refused = foreign_prices(source, document)
    return _rejected(document.external_id, refused) if refused else document


def _rejected(external_id: str, refused: Sequence[Problem]) -> Receipt:
    return Receipt(Verdict.REJECTED, external_id, None, *first_of(refused))


def foreign_prices(source: Source, document: Document) -> list[Problem]:
    """Prices that lines state though their source may not: who sent them expects them to count."""
    if not document.unit_prices or source.policy.price_policy == "as_sold":
        return []
    expected = (
        f"no price: the catalogue's counts, as {source.name} has not the price_policy as_sold"
    )
    return [
        Problem(f"lines.{n}.unit_price", f'"{given}"', expected)
        for n, given in document.unit_prices
    ]


def untimely(source: Source, document: Document, now: datetime) -> list[Problem]:
    """A `placed_at` that is yet to come, or lies further back than its source's policy allows."""
    placed_at, policy = document.placed_at, source.policy
    if placed_at is None:
        return []
    if placed_at > now + CLOCKS_DIFFER:
        return [
            Problem("placed_at", f'"{placed_at.isoformat()}"', "a time that is not in the future")
        ]
    within = None if policy.price_policy == "as_sold" else policy.placed_within
    if within is None or placed_at >= now - timedelta(days=within):
        return []
    expected = f"a time within the last {within} days, {source.name}'s placed_within"
    return [Problem("placed_at", f'"{placed_at.isoformat()}"', expected)]


def missing_prices(source: Source, document: Document) -> list[Problem]:
    """Lines of an order that is priced as sold which state no price, where the catalogue's may not
    stand in: nobody knows whether it is what they were sold at."""
    if not document.unpriced or not _must_be_priced(source):
        return []
    expected = (
        "the price it was sold at, as its source has the price_policy as_sold; with missing_price = "
        "catalogue ours would stand in"
    )
    return [Problem(f"lines.{n}.unit_price", "nothing", expected) for n in document.unpriced]


def _must_be_priced(source: Source) -> bool:
    policy = source.policy
    return policy.price_policy == "as_sold" and policy.missing_price == "refuse"


def new_only(source: Source, document: Document, now: datetime) -> list[Problem]:
    """What keeps an order from being taken in for the first time; one that is here already stays."""
    return [
        *document.unlisted,
        *missing_prices(source, document),
        *untimely(source, document, now),
    ]


Key = tuple[int, str]  # (source id, external id)
_Read = Document | Receipt


def _may_be_new(tx: Tx, sources: Sequence[Source], read: Sequence[_Read]) -> list[_Read]:
    """`read`, with a receipt in place of each new order that was placed at no time that is allowed,
    lacks prices, or has a currency or country that has left its list. An order that is here already
    stays a duplicate however late it comes again."""
    if not any(
        isinstance(each, Document)
        and (each.placed_at or each.unlisted or (each.unpriced and _must_be_priced(source)))
        for source, each in zip(sources, read, strict=True)
    ):
        return list(read)
    now = clock.read(tx)
    refused = {
        n: problems
        for n, (source, each) in enumerate(zip(sources, read, strict=True))
        if isinstance(each, Document) and (problems := new_only(source, each, now))
    }
    keys = {n: (sources[n].id, str(read[n].external_id)) for n in refused}
    known = {key for key, *_ in intake.find(tx, list(keys.values()))}
    known |= {key for key, *_ in archive.find(tx, list(keys.values()))}
    return [
        _rejected(str(each.external_id), refused[n])
        if n in refused and keys[n] not in known
        else each
        for n, each in enumerate(read)
    ]


@dataclass(frozen=True, slots=True)
class _Stored:
    order_id: int
    digest: str
    is_new: bool


def _store(
    tx: Tx, sound: Sequence[tuple[Source, Document, str | None]], dispatch_size: int
) -> tuple[dict[Key, _Stored], list[int]]:
    """Insert what is not there yet; what stands there now by key, and the dispatches made."""
    first: dict[Key, tuple[Source, Document, str | None]] = {}
    for source, document, traceparent in sound:
        first.setdefault((source.id, document.external_id), (source, document, traceparent))
    new = intake.add(
        tx,
        [
            (s.id, d.external_id, s.policy.chain, Lane(s.policy.lane).rank, FIRST_STAGE, d.currency)
            # In key order, for everyone: two batches with the same orders must not deadlock.
            for _, (s, d, _trace) in sorted(first.items(), key=itemgetter(0))
        ],
    )
    known = intake.find(tx, [k for k in first if k not in new])
    # Only now: who is archiving one of them has either kept us waiting above, or is yet to begin.
    live = {key for key, *_ in known}
    archived = archive.find(tx, [k for k in first if k not in live])
    intake.withdraw(tx, [new.pop(key) for key, *_ in archived if key in new])
    intake.add_documents(tx, [_kept(order_id, *first[k]) for k, order_id in new.items()])
    stored = {k: _Stored(order_id, first[k][1].digest, True) for k, order_id in new.items()}
    stored |= {k: _Stored(order_id, digest, False) for k, order_id, digest in known + archived}
    accepted = [(first[k][0], order_id) for k, order_id in new.items()]
    return stored, _dispatch(tx, accepted, dispatch_size)


def _kept(
    order_id: int, source: Source, document: Document, traceparent: str | None
) -> intake.NewDocument:
    """What is stored of a document."""
    customer, email = lookup_keys(source.name, document.customer)
    trace = traceparent or tracing.accepted(order_id, source.name)
    return (
        order_id, document.digest, document.body, customer, email, trace, document.placed_at,
        document.total,
    )  # fmt: skip


def _dispatch(tx: Tx, accepted: Sequence[tuple[Source, int]], size: int) -> list[int]:
    by_lane: dict[int, list[int]] = defaultdict(list)
    for source, order_id in accepted:
        by_lane[Lane(source.policy.lane).rank].append(order_id)
    return dispatches.add(
        tx,
        [
            NewDispatch(FIRST_STAGE, lane, tuple(sorted(ids)[start : start + most]))
            for lane, ids in by_lane.items()
            for most in [size if lane == Lane.INTERACTIVE.rank else min(size, PORTION)]
            for start in range(0, len(ids), most)
        ],
    )


def _receipt(
    source: Source, document: Document, stored: dict[Key, _Stored], seen: set[Key]
) -> Receipt:
    key = (source.id, document.external_id)
    found = stored[key]
    if found.digest != document.digest:
        problem = Problem(
            "external_id", document.external_id, f"the content that order {found.order_id} has"
        )
        return Receipt(Verdict.CONFLICT, document.external_id, found.order_id, (problem,))
    fresh = found.is_new and key not in seen
    seen.add(key)
    verdict = Verdict.ACCEPTED if fresh else Verdict.DUPLICATE
    return Receipt(verdict, document.external_id, found.order_id)


class _GroupCommit:
    """Calls one function, in one thread, with all that arrived while its last call ran."""

    def __init__(self, commit: Callable[[Sequence[Any]], list[Receipt]]) -> None:
        self._commit = commit
        self._waiting: list[tuple[Any, Future[Receipt]]] = []
        self._lock = threading.Lock()
        self._thread = ThreadPoolExecutor(1, "group-commit")
        self._is_going = False

    def submit(self, item: Any) -> Future[Receipt]:
        mine: Future[Receipt] = Future()
        mine.set_running_or_notify_cancel()  # who goes away takes no order back
        with self._lock:
            self._waiting.append((item, mine))
            if not self._is_going:
                self._thread.submit(self._commit_all)
                self._is_going = True
        return mine

    def _commit_all(self) -> None:
        while group := self._next():
            try:
                receipts = self._commit([item for item, _ in group])
            except BaseException as error:  # each caller whose order was in the group gets it
                for _, future in group:
                    future.set_exception(error)
                continue
            for (_, future), receipt in zip(group, receipts, strict=True):
                future.set_result(receipt)

    def _next(self) -> list[tuple[Any, Future[Receipt]]]:
        with self._lock:
            group, self._waiting = self._waiting[:DISPATCH_SIZE], self._waiting[DISPATCH_SIZE:]
            self._is_going = bool(group)
        return group
