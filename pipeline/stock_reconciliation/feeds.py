"""Where counts come from: a folder that files are dropped into, and a URL that is asked.

A file is taken when it is whole. We know by this: its name doesn't begin with a dot or end in .part,
.tmp or .filepart, and neither its size nor its time has changed for `SETTLED` seconds. Who can, writes
under such a name and renames; that is whole at once but waits as long. Read to its end, it is moved
to done/, with what was refused of it beside it as NAME.rejects.csv; one that can't be read goes to
refused/, with why. It is moved after all it brought about was committed: a run that dies reads it again.

A URL's answer is put into a folder of our own, and taken from there.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from pipeline.errors import InvalidInput
from pipeline.formulas import write_rows
from pipeline.stock_reconciliation.counts import CountMapping
from pipeline.stock_reconciliation.reconcile import Feed, feed_of
from pipeline.storage import stock_feeds
from pipeline.storage.database import Database

log = logging.getLogger(__name__)

SETTLED = 10.0
_UNFINISHED = (".part", ".tmp", ".filepart")


def waiting(folder: Path, settled: float = SETTLED) -> Iterator[Path]:
    """The files that are whole, the oldest first. InvalidInput if there is no such folder."""
    try:
        found = [(p.stat().st_mtime, p) for p in folder.iterdir() if p.is_file()]
    except OSError as error:
        raise InvalidInput(
            f"ORDERMILL_STOCK_FEED: {folder} can't be read: {error.strerror}"
        ) from None
    for changed, path in sorted(found):
        name = path.name.lower()
        if name.startswith(".") or name.endswith(_UNFINISHED):
            continue
        # Either way: a host whose clock was set back finds files that are from the future.
        if abs(time.time() - changed) >= settled:
            yield path


def take(
    database: Database, folder: Path, mapping: CountMapping | None, settled: float = SETTLED
) -> list[Feed]:
    """The files to be read now. What was read before is moved away, and so is what can't be read."""
    taken: dict[str, Feed] = {}
    for path in waiting(folder, settled):
        before = _state(path)
        try:
            feed = feed_of(path, mapping, _beside(path))
        except InvalidInput as error:
            if path.exists():
                _refuse(path, str(error))
            continue
        if before != _state(path):
            continue  # it has grown while we read it
        with database.snapshot() as tx:
            is_read = stock_feeds.is_read(tx, feed.digest)
        if is_read or feed.digest in taken:
            log.info("%s: its counts were read before", path.name)
            put_away(feed)
        else:
            taken[feed.digest] = feed
    return list(taken.values())


def put_away(feed: Feed) -> None:
    """Move a file that was read, now or by a run that died since, to where it belongs."""
    rejects = _beside(feed.path)
    if feed.refused is not None:
        _refuse(feed.path, feed.refused, feed.digest)
    elif (moved := _move(feed.path, "done", feed.digest)) and _has_lines(rejects):
        rejects.replace(_told_of(moved))
    rejects.unlink(missing_ok=True)


def _has_lines(rejects: Path) -> bool:
    """Whether there are any below the header."""
    if not rejects.exists():
        return False
    with rejects.open(encoding="utf-8") as file:
        return len(list(islice(file, 2))) == 2


def _told_of(moved: Path) -> Path:
    return moved.with_name(f"{moved.name}.rejects.csv")


def _state(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except FileNotFoundError:
        return None
    return found.st_size, found.st_mtime_ns


def _beside(path: Path) -> Path:
    """Rejects as they are written: under a name that is not taken for counts."""
    return path.with_name(f".{path.name}.rejects.part")


def _refuse(path: Path, why: str, digest: str = "") -> None:
    log.error("%s is refused: %s", path.name, why)
    moved = _move(path, "refused", digest)
    if moved:
        with _told_of(moved).open("w", newline="", encoding="utf-8") as file:
            write_rows(file, [("line", "sku", "field", "value", "reason"),
                              ("", "", "file", path.name, why)])  # fmt: skip


def _move(path: Path, where: str, digest: str) -> Path | None:
    """Into the folder `where` beside it; under a name of its own if there is one of that name."""
    target = path.parent / where / path.name
    target.parent.mkdir(exist_ok=True)
    if target.exists():
        target = target.with_name(f"{digest[:12] or time.time_ns()}-{path.name}")
    try:
        os.replace(path, target)
    except FileNotFoundError:
        return None  # another has moved it
    return target
