"""What a person does to all orders on hold that match: put them back to work, cancel them, or decide
about them.

In transactions of at most 1,000 orders, walking up the ids: each order is moved once, however it
fares afterwards, and memory doesn't grow with their number. Whoever breaks off in between has moved
what was committed, and runs the same again for the rest.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from math import ceil
from typing import Any

from pipeline import operations
from pipeline.acts import carried_out, tell
from pipeline.decisions import Decision
from pipeline.errors import InvalidInput
from pipeline.operations import Announcements, Going
from pipeline.problems import fit_to_show
from pipeline.storage import dispatches, operators_log
from pipeline.storage.database import Database, Tx
from pipeline.storage.dispatches import NewDispatch
from pipeline.storage.selection import Found, Selection, lock_held

MOST_ORDERS = 1_000

#: What is done to orders on hold, locked, in the actor's name; those that go on at a step.
Act = Callable[[Tx, Mapping[int, Any], str], list[Going]]
ACTS: dict[str, Act] = {
    "requeue": operations.requeue_held,
    "cancel": operations.cancel_held,
}


def deciding(decision: Decision) -> Act:
    """To decide so about orders that are on hold for a reason that this answers."""
    return partial(operations.decide_held, decision=decision)


def answered(selection: Selection, decision: Decision) -> Selection:
    """Of a selection those that the decision answers. InvalidInput if it names another reason."""
    reasons = sorted(decision.kind.answers)
    if selection.reason is not None and selection.reason not in reasons:
        raise InvalidInput(
            f"reason: got {fit_to_show(selection.reason)}, expected {' or '.join(reasons)}, "
            f"which {decision.kind.name} answers"
        )
    return replace(selection, reasons=tuple(reasons))


@dataclass(slots=True)
class Tally:
    """`moved` of the orders that were `found`. The others had been changed by somebody else."""

    found: int
    moved: int = 0

    @property
    def skipped(self) -> int:
        return max(0, self.found - self.moved)


OnProgress = Callable[[Tally], None]


def move_all(
    database: Database,
    found: Found,
    act: Act,
    actor: str,
    announce: Callable[[Announcements], None],
    *,
    rate: float | None = None,
    progress: OnProgress = lambda _: None,
) -> Tally:
    """Do `act` to the orders that were `found` and are on hold still. With a `rate`, no more of them
    a second become due; else all at once."""
    tally, pace, last = Tally(found.orders), Pace(rate), 0
    while True:
        with database.transaction() as tx:
            held = lock_held(tx, found.selection, last, MOST_ORDERS)
            new = list(pace.dispatches(act(tx, held, actor)))
            made = dispatches.add(tx, new)
        announce([(d.step, i) for d, i in zip(new, made, strict=True) if d.delay == 0])
        tally.moved += len(held)
        progress(tally)
        if len(held) < MOST_ORDERS:
            return tally
        last = max(held)


@dataclass(frozen=True, slots=True)
class Errand:
    """Something done to all that was `found`, in an operator's name: the operators' log has an entry
    from the beginning, which tells how far it is and how it ended."""

    act: str
    found: Found
    detail: Mapping[str, Any]
    entry: int
    do: Act

    @classmethod
    def begun(
        cls,
        tx: Tx,
        act: str,
        found: Found,
        operator: str,
        detail: Mapping[str, Any],
        decision: Decision | None = None,
    ) -> Errand:
        """To be run once the transaction is committed; `detail` says what was asked for. Of the act
        `decide` there is the decision."""
        told = {**detail, **(decision.told if decision else {}), "found": found.orders}
        entry = operators_log.add(tx, operator, f"{act}.all", None, told, "under_way")
        return cls(act, found, told, entry, deciding(decision) if decision else ACTS[act])

    def run(
        self,
        database: Database,
        actor: str,
        announce: Callable[[Announcements], None],
        *,
        rate: float | None = None,
        progress: OnProgress = lambda _: None,
    ) -> Tally:
        """As `move_all`. If it breaks off, what was committed stays, and the entry says so."""
        detail: dict[str, Any] = {**self.detail, "moved": 0}

        def on_progress(tally: Tally) -> None:
            detail["moved"] = tally.moved
            tell(database, self.entry, detail)
            progress(tally)

        with carried_out(database, self.entry, detail):
            tally = move_all(
                database, self.found, self.do, actor, announce,
                rate=rate, progress=on_progress,
            )  # fmt: skip
            detail["skipped"] = tally.skipped
        return tally


@dataclass(slots=True)
class Pace:
    """Orders as dispatches that keep to a rate: sets of about a second's worth, each due in turn."""

    rate: float | None
    _sent: int = 0
    _started: float = field(default_factory=time.monotonic)

    def dispatches(self, going: Sequence[Going]) -> Iterator[NewDispatch]:
        if self.rate is None:
            yield from operations.due(going)
            return
        size = ceil(self.rate)
        for start in range(0, len(going), size):
            turn = going[start : start + size]
            yield from operations.due(turn, self._delay(self.rate))
            self._sent += len(turn)

    def _delay(self, rate: float) -> float:
        """Seconds from now until the next set's turn, counted from when the first was due."""
        return max(0.0, self._sent / rate - (time.monotonic() - self._started))
