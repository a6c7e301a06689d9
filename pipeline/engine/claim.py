"""Claim: lease due dispatches of a step, and read the orders in them."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from pipeline.chain import UNDO
from pipeline.order import Lane, Order
from pipeline.storage import dispatches, orders
from pipeline.storage.database import Tx
from pipeline.storage.dispatches import Dispatch, NewDispatch

#: Leases that may run out under a dispatch of one order before the order is held as poison.
#: Larger dispatches are halved from the second on, so that an innocent order is never held.
DEATHS_BEFORE_HALVING = 2
DEATHS_BEFORE_HOLD = 5


@dataclass(slots=True)
class Batch:
    """Orders taken together through a step, and the dispatches we hold for them.

    `cancelled` are those whose cancellation was asked for: the step leaves them alone, the record
    sends them to be undone.
    """

    step: str
    token: str
    dispatch_ids: tuple[int, ...]
    orders: list[Order]
    cancelled: list[Order] = field(default_factory=list)
    deaths: int = 0
    #: What the step's `intend` made of it, for its `call`.
    plan: Any = None
    #: More is due than we took: somebody should be woken for it.
    backlog: bool = False
    #: A lease ran out under it since it was last seen: its worker died, hung, or lost the database.
    lapsed: bool = False

    @property
    def everyone(self) -> list[Order]:
        """All its orders, those that are left alone among them."""
        return self.orders + self.cancelled


class Suspect(Exception):
    """What is due first must be worked on by a process that does nothing else meanwhile."""


def claim(
    tx: Tx,
    step: str,
    most_orders: int,
    lease_seconds: float,
    *,
    admit: Callable[[int], bool] = lambda lane: True,
    most_bulk: int | None = None,
    alone: bool = False,
    avoid_suspects: bool = False,
) -> Batch | None:
    """Lease what is due for `step`, up to `most_orders` (`most_bulk` of that lane); None if nothing
    is, or if this process does not `admit` any more of the lane (its rank) that is due first.

    The attempt is counted before the work. A dispatch under which a worker has died is taken
    alone, so that it can't take others with it; a suspect (DEATHS_BEFORE_HALVING) only by a
    process that does nothing else meanwhile (`alone`; else Suspect), so that the blame is its own.
    With `avoid_suspects`, what is due behind them is taken.
    """
    most_deaths = DEATHS_BEFORE_HALVING - 1 if avoid_suspects else dispatches.ANY_DEATHS
    candidates = dispatches.lock_due(tx, step, most_orders, most_deaths)
    is_bulk = bool(candidates) and candidates[0].lane == Lane.BULK.rank
    chosen = _fitting(candidates, most_bulk if is_bulk and most_bulk else most_orders)
    if not chosen:
        return None
    if chosen[0].deaths >= DEATHS_BEFORE_HALVING and not alone:
        raise Suspect
    if not admit(chosen[0].lane):
        return None
    token = str(uuid.uuid4())
    dispatches.lease(tx, [d.id for d in chosen], token, lease_seconds)
    batch = Batch(
        step,
        token,
        tuple(d.id for d in chosen),
        [],
        deaths=chosen[0].deaths,
        backlog=len(candidates) > len(chosen),
        lapsed=any(d.lapsed for d in chosen),
    )
    _read(tx, batch, chosen)
    return batch


def _fitting(candidates: Sequence[Dispatch], most_orders: int) -> list[Dispatch]:
    """The first dispatches that together hold no more than `most_orders`; at least one."""
    if not candidates:
        return []
    if candidates[0].deaths:
        return [candidates[0]]
    chosen = [candidates[0]]
    room = most_orders - len(candidates[0].order_ids)
    for candidate in candidates[1:]:
        # Lanes don't mix: a shopper must not wait for the import that fills the rest of a batch.
        if candidate.deaths or candidate.lane != chosen[0].lane or len(candidate.order_ids) > room:
            break
        chosen.append(candidate)
        room -= len(candidate.order_ids)
    return chosen


def _read(tx: Tx, batch: Batch, chosen: Sequence[Dispatch]) -> None:
    attempts = {order_id: d.attempts + 1 for d in chosen for order_id in d.order_ids}
    waits = {
        order_id: (d.cause, looks)
        for d in chosen
        if d.looks
        for order_id, looks in zip(d.order_ids, d.looks, strict=True)
    }
    undoing = batch.step.startswith(UNDO)
    for loaded in orders.load(tx, attempts):
        loaded.order.attempt = attempts[loaded.order.id]
        if waits:
            loaded.order.cause, loaded.order.looks = waits.get(loaded.order.id, (None, 0))
        diverted = loaded.cancel_requested and not undoing
        (batch.cancelled if diverted else batch.orders).append(loaded.order)


def halve(tx: Tx, batch: Batch) -> list[int]:
    """Write two dispatches with half each of a batch that keeps failing as a whole, whose own are
    gone in this transaction.

    Each half counts one death, so it is taken alone and halved again at its first: a poison
    order ends up standing alone. Returns the ids of the halves.
    """
    everyone = sorted(batch.everyone, key=lambda order: order.id)
    middle = len(everyone) // 2
    return dispatches.add(
        tx,
        [
            NewDispatch(
                batch.step,
                half[0].lane.rank,
                tuple(order.id for order in half),
                attempts=half[0].attempt - 1,  # being halved is not an attempt
                deaths=1,
            )
            for half in (everyone[:middle], everyone[middle:])
        ],
    )
