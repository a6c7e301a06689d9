"""Counters: one row a recorded batch and outcome, so that no dashboard has to count orders."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Literal

from sqlalchemy import bindparam, delete, func, insert, select

from pipeline.storage.database import Tx
from pipeline.storage.sql import UtcDateTime, now, pack, rows, whole
from pipeline.storage.tables import counters

#: What is counted, beside the outcomes, of orders whose worker let their lease run out.
LAPSED = "lapsed"

_new = rows(counters.c.step, counters.c.outcome, counters.c.orders)
_INSERT = insert(counters).from_select(
    ["at", "step", "outcome", "orders"],
    select(now(), _new.c.step, _new.c.outcome, _new.c.orders),
)
_SINCE = (
    select(counters.c.step, counters.c.outcome, func.sum(counters.c.orders).label("orders"))
    .where(counters.c.at > now(bindparam("offset")))
    .group_by(counters.c.step, counters.c.outcome)
)


def add(tx: Tx, step: str, outcomes: Mapping[str, int]) -> None:
    """Count what became of a batch: orders by outcome."""
    if outcomes:
        tx.execute(_INSERT, {"rows": pack((step, kind, n) for kind, n in outcomes.items())})


def since(tx: Tx, seconds: float) -> dict[tuple[str, str], int]:
    """Orders by (step, outcome) in the last `seconds`."""
    found: Any = tx.execute(_SINCE, {"offset": -seconds})
    return {(r.step, r.outcome): int(r.orders) for r in found}


def _by(unit: Literal["minute", "hour"]) -> Any:
    at = whole(unit, counters.c.at).label("whole")
    return (
        select(at, counters.c.step, counters.c.outcome, func.sum(counters.c.orders).label("orders"))
        .where(counters.c.at >= bindparam("since", type_=UtcDateTime))
        .group_by(at, counters.c.step, counters.c.outcome)
    )


_BY = {"minute": _by("minute"), "hour": _by("hour")}
History = dict[tuple[datetime, str, str], int]


def history(tx: Tx, unit: Literal["minute", "hour"], since: datetime) -> History:
    """Orders by (the beginning of each minute or hour, step, outcome), since a time."""
    found = tx.execute(_BY[unit], {"since": since})
    return {(r.whole, r.step, r.outcome): int(r.orders) for r in found}


_BETWEEN = (
    select(counters.c.step, counters.c.outcome, func.sum(counters.c.orders).label("orders"))
    .where(
        counters.c.at >= bindparam("since", type_=UtcDateTime),
        counters.c.at < bindparam("until", type_=UtcDateTime),
    )
    .group_by(counters.c.step, counters.c.outcome)
)


def between(tx: Tx, since: datetime, until: datetime) -> Counter[tuple[str, str]]:
    """Orders by (step, outcome) since a time, and before another."""
    found = tx.execute(_BETWEEN, {"since": since, "until": until})
    return Counter({(r.step, r.outcome): int(r.orders) for r in found})


Unit = Literal["hour", "day"]
_LENGTH: dict[Unit, timedelta] = {"hour": timedelta(hours=1), "day": timedelta(days=1)}


def _moment(name: str) -> Any:
    return bindparam(name, type_=UtcDateTime)


_FIRST = {
    unit: select(whole(unit, counters.c.at))
    .where(
        counters.c.at < whole(unit, now(bindparam("offset"))),
        counters.c.at != whole(unit, counters.c.at),
    )
    .order_by(counters.c.at)
    .limit(1)
    for unit in _LENGTH
}
_TAKE = (
    delete(counters)
    .where(counters.c.at >= _moment("since"), counters.c.at < _moment("until"))
    .returning(counters.c.step, counters.c.outcome, counters.c.orders)
)
_INSERT_AT = insert(counters).from_select(
    ["at", "step", "outcome", "orders"],
    select(_moment("since"), _new.c.step, _new.c.outcome, _new.c.orders),
)


def roll_up(tx: Tx, unit: Unit, seconds: float) -> tuple[int, int] | None:
    """Of counters older than `seconds`, make those of the first whole unit that isn't yet one row a
    step and outcome: how many rows went and came. None if there is no such unit."""
    since: datetime | None = tx.execute(_FIRST[unit], {"offset": -seconds}).scalar_one_or_none()
    if since is None:
        return None
    sums: Counter[tuple[str, str]] = Counter()
    # What is summed is what was deleted: by two at once, each row once.
    gone = tx.execute(_TAKE, {"since": since, "until": since + _LENGTH[unit]}).all()
    for r in gone:
        sums[r.step, r.outcome] += r.orders
    packed = pack((step, outcome, orders) for (step, outcome), orders in sorted(sums.items()))
    tx.execute(_INSERT_AT, {"since": since, "rows": packed})
    return len(gone), len(sums)
