"""What a person does to stock: correct it, count it, take it from one place to another.

Each is a line in the ledger with a name and a reason. None may leave fewer units than are promised
to orders.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from pipeline.errors import InvalidInput
from pipeline.inventory.allocation import Level
from pipeline.inventory.movement import COUNT
from pipeline.storage import catalogue, clock, stock, stock_differences
from pipeline.storage.database import Tx
from pipeline.storage.stock import Movement
from pipeline.storage.stock_ledger import Standing, standing
from pipeline.typed import text

MOST_UNITS = 1_000_000_000


@dataclass(frozen=True, slots=True)
class Count:
    """So many units were found at a level, at a time (None: now)."""

    level: Level
    units: int
    at: datetime | None = None
    reason: str | None = None


def adjust(tx: Tx, level: Level, units: int, reason: str, actor: str) -> None:
    """So many more, or (negative) fewer, are on hand. InvalidInput says what is wrong."""
    _known(tx, level)
    if not 0 < abs(units) <= MOST_UNITS:
        raise InvalidInput(f"units: got {units}, expected up to {MOST_UNITS:,} more or fewer")
    _post(tx, [Movement(*level, "adjustment", units, text("reason", reason, 255))], actor)


def transfer(
    tx: Tx, sku: str, units: int, source: str, target: str, reason: str | None, actor: str
) -> None:
    """Take units that are on hand at one location and not promised to another location."""
    _known(tx, (sku, source), (sku, target))
    if source == target:
        raise InvalidInput(f"--to: got {target!r}, expected another location than --from")
    if not 0 < units <= MOST_UNITS:
        raise InvalidInput(f"units: got {units}, expected 1 to {MOST_UNITS:,}")
    why = text("reason", reason, 255)
    out = Movement(sku, source, "transfer", -units, why or f"to {target}")
    into = Movement(sku, target, "transfer", units, why or f"from {source}")
    _post(tx, [out, into], actor)


def count(tx: Tx, counted: Count, actor: str) -> int:
    """Make what is on hand agree with a count; the difference that was found. It is written at the
    count's time, so that the same count again finds none. Differences that counts of up to then found
    are cleared: the books agree with the newest."""
    _known(tx, counted.level)
    if not 0 <= counted.units <= MOST_UNITS:
        raise InvalidInput(f"units: got {counted.units}, expected 0 to {MOST_UNITS:,}")
    text("reason", counted.reason, 255)
    stock.open_levels(tx, [counted.level])
    [found] = difference(tx, [counted])
    if isinstance(found, str):
        raise InvalidInput(f"--at: expected {found}")
    _post(tx, [found], actor)
    now = clock.read(tx)
    stock_differences.clear_counts(tx, [(counted.level, counted.at or now)], now)
    return found.quantity


def difference(tx: Tx, counts: Sequence[Count]) -> list[Movement | str]:
    """The movement that each count makes for, or the time that was expected of it. The caller holds
    the levels' locks, and gives each level once."""
    found = standing(tx, [(c.level, c.at) for c in counts])
    return [_difference(c, then) for c, then in zip(counts, found, strict=True)]


def _difference(counted: Count, then: Standing) -> Movement | str:
    """Pure: movements since the count are no fault of the books."""
    if then.is_future:
        return "a time that has passed"
    if then.counted_since is not None:
        return f"a time after the last count, {then.counted_since.isoformat(' ', 'seconds')}"
    units = counted.units - then.on_hand
    return Movement(*counted.level, COUNT, units, counted.reason, counted.at)


def require_product(tx: Tx, sku: str) -> None:
    """InvalidInput if there is no product of that SKU."""
    if sku not in catalogue.products_by_sku(tx, [sku]):
        raise InvalidInput(f"there is no product {sku!r}; `ordermill products import` makes it")


def _known(tx: Tx, *levels: Level) -> None:
    require_product(tx, levels[0][0])
    for _, location in levels:
        text("location", location, 32)


def _post(tx: Tx, movements: Sequence[Movement], actor: str) -> None:
    if refused := stock.post(tx, movements, actor):
        sku, location = refused[0]
        taken = -sum(m.quantity for m in movements if (m.sku, m.location) == refused[0])
        raise InvalidInput(
            f"{taken} units of {sku} can't be taken from {location}: "
            "fewer would be left than are promised to orders"
        )
