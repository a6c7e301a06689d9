"""What the policy does about counts that differ, in the transaction that writes the differences.

report   nothing
adjust   a difference of at most the tolerance is posted as a count, at the count's time
hold     of a level that differs by more than the tolerance nothing more is promised
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from pipeline.inventory.allocation import Level
from pipeline.inventory.movement import COUNT
from pipeline.stock_reconciliation.compare import Compared, compare
from pipeline.storage import clock, stock
from pipeline.storage.database import Tx
from pipeline.storage.stock import Movement
from pipeline.storage.stock_differences import ADJUSTED, REPORTED

Policy = Literal["report", "adjust", "hold"]

#: Why nothing was done where the policy would have.
SUPERSEDED = "reported: counted since"
MOVING = "reported: moved meanwhile"
BEYOND = "reported: beyond the tolerance"
PROMISED = "reported: promised to orders"
HELD = "held"


@dataclass(frozen=True, slots=True)
class Plan:
    """`tolerance` is in units. `actor` is who leaves a name in the ledger."""

    policy: Policy = "report"
    tolerance: int = 0
    actor: str = "reconcile-stock"


Acted = list[tuple[Compared, str]]


def act(tx: Tx, plan: Plan, differing: Sequence[Compared], feed: str) -> Acted:
    """Each count that differs with what was done, but for those that agree by now."""
    if plan.policy == "adjust":
        return _adjust(tx, plan, differing, feed)
    if plan.policy == "report":
        return [(c, SUPERSEDED if c.is_superseded else REPORTED) for c in differing]
    told = [(c, _why_not_held(c, plan)) for c in differing]
    if which := [c.level for c, why in told if why is None]:
        stock.set_held(tx, which, True, plan.actor)
    return [(c, why or HELD) for c, why in told]


def _why_not_held(found: Compared, plan: Plan) -> str | None:
    if found.is_superseded:
        return SUPERSEDED
    return None if abs(found.difference) > plan.tolerance else REPORTED


def _why_not_adjusted(found: Compared, plan: Plan) -> str | None:
    if found.is_superseded:
        return SUPERSEDED
    if abs(found.difference) > plan.tolerance:
        return BEYOND
    return None if found.is_still else MOVING


def _adjust(tx: Tx, plan: Plan, differing: Sequence[Compared], feed: str) -> Acted:
    """What the snapshot found is looked at again under lock: a count that was posted meanwhile, by
    another or by a run that died, agrees with the books by now."""
    done: Acted = [(c, why) for c in differing if (why := _why_not_adjusted(c, plan))]
    chosen = [c for c in differing if _why_not_adjusted(c, plan) is None]
    if not chosen:
        return done
    stock.open_levels(tx, {c.level for c in chosen})
    locked = compare(tx, [c.counted for c in chosen], clock.read(tx))
    still = [c for c in locked if c.difference]
    right = {c.level: c for c in still if _why_not_adjusted(c, plan) is None}
    refused = _post(tx, plan, right, feed)
    for c in still:
        why = _why_not_adjusted(c, plan) or (PROMISED if c.level in refused else ADJUSTED)
        done.append((c, why))
    return done


def _post(tx: Tx, plan: Plan, right: dict[Level, Compared], feed: str) -> set[Level]:
    """Post the differences; the levels at which fewer units would be left than are promised."""
    refused = set[Level]()
    while chosen := [c for level, c in right.items() if level not in refused]:
        savepoint = tx.begin_nested()
        reason = f"counted: {feed}"[:255]
        movements = [Movement(*c.level, COUNT, c.difference, reason, c.at) for c in chosen]
        if not (more := stock.post(tx, movements, plan.actor)):
            savepoint.commit()
            break
        savepoint.rollback()
        refused.update(more)
    return refused
