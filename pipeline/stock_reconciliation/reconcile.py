"""A run of the reconciliation. The books are never corrected; a counted difference only by policy.

All is read in one snapshot, into a file, with no lock held; what differs is then acted on and
written in short transactions, each of which may be the last: a run that died is run again from the
beginning, and finds that a count which it had posted agrees by now.
"""

from __future__ import annotations

import json
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import IO, Any

from pipeline.errors import InvalidInput
from pipeline.intake.files.lines import digest_of
from pipeline.intake.files.tally import Tally
from pipeline.inventory.movement import COUNT
from pipeline.stock_reconciliation.act import Plan, act
from pipeline.stock_reconciliation.books import DIFFERENCES, Kind
from pipeline.stock_reconciliation.causes import cause
from pipeline.stock_reconciliation.compare import Compared, compare
from pipeline.stock_reconciliation.counts import CountMapping, CountRow, read_counts
from pipeline.storage import clock, stock_feeds
from pipeline.storage import stock_differences as storage
from pipeline.storage.database import Database, Tx, whole_tables
from pipeline.storage.sql import pack
from pipeline.storage.stock_differences import Found

PAGE = 500


@dataclass(slots=True)
class Feed:
    """A file of counts. `refused` says why none of it was used, `tally` what became of its lines."""

    path: Path
    name: str
    digest: str
    mapping: CountMapping | None = None
    rejects: Path | None = None
    etag: str | None = None
    tally: Tally = field(default_factory=Tally)
    refused: str | None = None


def feed_of(path: Path, mapping: CountMapping | None = None, rejects: Path | None = None) -> Feed:
    """InvalidInput if it can't be read."""
    return Feed(path, path.name, digest_of(path), mapping, rejects)


@dataclass(frozen=True, slots=True)
class Reconciled:
    """What a run found: differences by kind and by what was done; how many of them are new, and how
    many of earlier ones are gone. `away` says why the feed gave nothing. A run that broke off and was begun anew is one run, `since` when."""

    since: datetime
    read_at: datetime
    differences: Mapping[Kind, int]
    done: Mapping[str, int]
    new: int
    cleared: int
    feeds: Sequence[Feed]
    away: str | None = None

    @property
    def total(self) -> int:
        return sum(self.differences.values())

    @property
    def is_clean(self) -> bool:
        unread = any(feed.refused or feed.tally.rejected for feed in self.feeds)
        return not (self.total or unread or self.away)

    @property
    def counts(self) -> int:
        return sum(feed.tally.accepted for feed in self.feeds)


def reconcile(database: Database, plan: Plan, feeds: Sequence[Feed] = ()) -> Reconciled:
    """Compare the books with themselves and with each feed's counts, do what `plan` says, and keep
    what differs."""
    with database.transaction() as tx:
        begun = [stock_feeds.begin(tx, feed.digest, feed.name) for feed in feeds]
    with tempfile.TemporaryFile("w+", encoding="utf-8") as books:
        files = [tempfile.TemporaryFile("w+", encoding="utf-8") for _ in feeds]  # noqa: SIM115
        try:
            with database.snapshot() as tx:
                read_at = clock.read(tx)
                with whole_tables(tx):
                    _spool(books, tx.execute(DIFFERENCES.execution_options(yield_per=PAGE)))
                for feed, file in zip(feeds, files, strict=True):
                    _look(tx, feed, file, read_at)
            cleared = _keep_books(database, books, read_at)
            for feed, file in zip(feeds, files, strict=True):
                cleared += _settle(database, plan, feed, file, read_at)
        finally:
            for file in files:
                file.close()
    since = min([read_at, *begun])
    _explain(database, since)
    with database.transaction() as tx:
        for feed in feeds:
            if feed.refused is None:
                stock_feeds.finish(tx, feed.digest, feed.name, feed.etag)
            else:  # by another mapping it may be read yet
                stock_feeds.forget(tx, feed.digest)
        found = storage.tally(tx, since)
    kinds, done = Counter[Kind](), Counter[str]()
    for row in found:
        kinds[row.kind] += row.differences
        done[row.done] += row.differences
    new = int(sum(row.new for row in found))
    return Reconciled(since, read_at, kinds, done, new, cleared, feeds)


def _spool(file: IO[str], rows: Iterable[Iterable[Any]]) -> None:
    stream = iter(rows)
    while page := list(islice(stream, PAGE)):
        file.write(pack(tuple(row) for row in page) + "\n")


def _look(tx: Tx, feed: Feed, file: IO[str], now: datetime) -> None:
    """Write down how each count compares; all of a file, or nothing."""
    reading = read_counts(tx, feed.path, feed.mapping, feed.rejects, now, feed.tally)
    try:
        with closing(reading):
            for counts in reading:
                _spool(file, map(_as_row, compare(tx, counts, now)))
    except InvalidInput as error:
        feed.refused, feed.tally = str(error), Tally()
        file.truncate(0)
    file.seek(0)


def _as_row(c: Compared) -> tuple[Any, ...]:
    level = c.counted
    return (level.sku, level.location, level.units, level.counted_at, c.expected, c.is_still,
            c.is_superseded)  # fmt: skip


def _compared(row: Sequence[Any]) -> Compared:
    sku, location, units, at, *judged = row
    counted = CountRow.model_construct(
        sku=sku, location=location, units=units, counted_at=datetime.fromisoformat(at)
    )
    return Compared(counted, *judged)


def _keep_books(database: Database, file: IO[str], read_at: datetime) -> int:
    file.seek(0)
    for page in file:
        with database.transaction() as tx:
            storage.keep(tx, (Found(*each) for each in _whole(json.loads(page))), read_at)
    with database.transaction() as tx:
        return storage.clear_books(tx, read_at)


def _whole(rows: Iterable[Sequence[Any]]) -> Iterator[tuple[Any, ...]]:
    """Sums come as decimals from some databases."""
    for kind, sku, location, order_id, expected, found in rows:
        yield kind, sku, location, order_id, int(expected), int(found)


def _settle(database: Database, plan: Plan, feed: Feed, file: IO[str], read_at: datetime) -> int:
    """Act on the counts that differ, and keep them; how many earlier differences are gone."""
    cleared = 0
    for page in file:
        compared = [_compared(row) for row in json.loads(page)]
        agreed = [(c.level, c.at) for c in compared if not c.difference]
        differing = [c for c in compared if c.difference]
        with database.transaction() as tx:
            cleared += storage.clear_counts(tx, agreed, read_at)
            if differing:
                acted = act(tx, plan, differing, feed.name)
                storage.keep(tx, [_found(c, done, feed) for c, done in acted], read_at)
    return cleared


def _found(c: Compared, done: str, feed: Feed) -> Found:
    return Found(COUNT, *c.level, 0, c.expected, c.counted.units, c.at, done, feed.digest)


def _explain(database: Database, since: datetime) -> None:
    after = 0
    while True:
        with database.transaction() as tx:
            page = storage.page(tx, since, after, PAGE)
            known = storage.evidence(tx, page) if page else []
            storage.explain(tx, [(d.id, cause(d, e)) for d, e in zip(page, known, strict=True)])
        if len(page) < PAGE:
            return
        after = page[-1].id
