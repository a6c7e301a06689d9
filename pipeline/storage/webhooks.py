"""Endpoints of webhooks: whose, what they want, how they fare, and who delivers to each just now.

Who delivers holds the endpoint's lease: one at a time, so that what it is given comes in order, and
no more conversations are held with it than one process may. Whatever is written for it is written in
a transaction that first finds the lease to be ours still.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import (
    Boolean,
    Float,
    Integer,
    String,
    and_,
    bindparam,
    case,
    exists,
    func,
    insert,
    null,
    or_,
    select,
    update,
)

from pipeline.errors import LeaseLost, UnknownEndpoint
from pipeline.storage import feed
from pipeline.storage.database import Tx
from pipeline.storage.feed import Position
from pipeline.storage.sql import now, pack, texts
from pipeline.storage.tables import sources, webhook_deliveries, webhook_endpoints

#: Who disables an endpoint that is found dead.
OURSELVES = "ordermill"

_e = webhook_endpoints.c


def _seconds(name: str) -> Any:
    return bindparam(name, type_=Float)


@dataclass(frozen=True, slots=True)
class Endpoint:
    """An endpoint as it is kept. `seeds` are those whose secrets sign, the newest first; `position`
    is how far the feed has been made into deliveries."""

    id: str
    source_id: int
    source: str
    url: str
    types: list[str]
    seeds: list[str]
    created_at: datetime
    created_by: str
    disabled_at: datetime | None
    disabled_by: str | None
    disabled_why: str | None
    failures: int
    failing_since: datetime | None
    rest_until: datetime | None
    rests: bool
    position: Position


_rests = and_(_e.rest_until.is_not(None), _e.rest_until > now())
_earlier = case((_e.earlier_until > now(), _e.earlier_seed), else_=null())
_source = select(sources.c.name).where(sources.c.id == _e.source_id).scalar_subquery()
_TOLD = (
    _e.id, _e.source_id, _source.label("source"), _e.url, _e.types, _e.seed,
    _earlier.label("earlier"), _e.created_at, _e.created_by, _e.disabled_at, _e.disabled_by,
    _e.disabled_why, _e.failures, _e.failing_since, _e.rest_until, _rests.label("rests"),
    _e.read_at, _e.read_order, _e.read_seq,
)  # fmt: skip
_is_it = _e.id == bindparam("wanted")
_is_held = and_(_is_it, _e.lease == bindparam("token"))
_ONE = select(*_TOLD).where(_is_it)
_LOCK = select(_e.id, _e.source_id).where(_is_it).with_for_update()
_ALL = select(*_TOLD).order_by(_e.created_at, _e.id)


def add(
    tx: Tx,
    endpoint_id: str,
    source_id: int,
    url: str,
    types: Sequence[str],
    seed: str,
    since: datetime | None,
    by: str,
) -> None:
    """Make an endpoint, to be told of what happens from now on, or of all `since`."""
    row = {
        "id": endpoint_id, "source_id": source_id, "url": url, "types": json.dumps(list(types)),
        "seed": seed, "created_at": now(), "created_by": by, "read_at": since or now(),
        "read_order": 0, "read_seq": 0, "failures": 0,
    }  # fmt: skip
    tx.execute(insert(webhook_endpoints).values(row))


def one(tx: Tx, endpoint_id: str) -> Endpoint:
    """The endpoint of that id; UnknownEndpoint if there is none."""
    found = tx.execute(_ONE, {"wanted": endpoint_id}).one_or_none()
    if found is None:
        raise UnknownEndpoint(endpoint_id)
    return _endpoint(found)


def lock(tx: Tx, endpoint_id: str) -> Endpoint:
    """As `one`, and it stays as it is until the end of the transaction."""
    tx.execute(_LOCK, {"wanted": endpoint_id})
    return one(tx, endpoint_id)


def all_endpoints(tx: Tx, source_id: int | None = None) -> list[Endpoint]:
    """All endpoints, or those of a source, the oldest first."""
    query = _ALL if source_id is None else _ALL.where(_e.source_id == source_id)
    return [_endpoint(row) for row in tx.execute(query)]


def _endpoint(row: Any) -> Endpoint:
    return Endpoint(
        row.id, row.source_id, row.source, row.url, json.loads(row.types),
        [row.seed, *([row.earlier] if row.earlier else [])], row.created_at, row.created_by,
        row.disabled_at, row.disabled_by, row.disabled_why, row.failures, row.failing_since,
        row.rest_until, bool(row.rests), Position(row.read_at, row.read_order, row.read_seq),
    )  # fmt: skip


_ROTATE = (
    update(webhook_endpoints)
    .where(_is_it)
    .values(
        seed=bindparam("new_seed"), earlier_seed=_e.seed, earlier_until=now(_seconds("overlap"))
    )
)
# A person who disables what we found dead says that he knows.
_is_ours_to_end = and_(_e.disabled_by == OURSELVES, bindparam("by", type_=String) != OURSELVES)
_DISABLE = (
    update(webhook_endpoints)
    .where(_is_it, or_(_e.disabled_at.is_(None), _is_ours_to_end))
    .values(
        disabled_at=func.coalesce(_e.disabled_at, now()), disabled_by=bindparam("by"), disabled_why=bindparam("why"),
        told_at=null(),
    )
)  # fmt: skip
_ENABLE = (
    update(webhook_endpoints)
    .where(_is_it)
    .values(
        disabled_at=null(), disabled_by=null(), disabled_why=null(), told_at=null(), failures=0,
        failing_since=null(), rest_until=null(),
    )
)  # fmt: skip
_WAKE = update(webhook_endpoints).where(_is_it).values(rest_until=null())
# Who delivers to it just now loses it: he would go on from where he has read to.
_SKIP = (
    update(webhook_endpoints)
    .where(_is_it)
    .values(read_at=now(), read_order=0, read_seq=0, lease=null(), leased_until=null())
)


def rotate(tx: Tx, endpoint_id: str, seed: str, overlap: float) -> None:
    """Sign by another seed; by the one before, too, for `overlap` seconds."""
    tx.execute(_ROTATE, {"wanted": endpoint_id, "new_seed": seed, "overlap": overlap})


def disable(tx: Tx, endpoint_id: str, by: str, why: str) -> bool:
    """Deliver nothing more to it; False if it was disabled by a person before."""
    return tx.execute(_DISABLE, {"wanted": endpoint_id, "by": by, "why": why}).rowcount == 1


def enable(tx: Tx, endpoint_id: str, *, from_now: bool) -> None:
    """Deliver to it again: all that has happened since, or (`from_now`) what is yet to happen."""
    tx.execute(_ENABLE, {"wanted": endpoint_id})
    if from_now:
        tx.execute(_SKIP, {"wanted": endpoint_id})


def wake(tx: Tx, endpoint_id: str) -> None:
    """Leave it alone no longer: somebody wants to see how it fares."""
    tx.execute(_WAKE, {"wanted": endpoint_id})


_d = webhook_deliveries.c
_has_due = exists().where(_d.endpoint_id == _e.id, _d.state == "pending", _d.due_at <= now())
_has_unread = exists().where(feed.comes_after(_e.read_at, _e.read_order, _e.read_seq))
_is_free = and_(
    _e.disabled_at.is_(None),
    or_(_e.lease.is_(None), _e.leased_until < now()),
    or_(_e.rest_until.is_(None), _e.rest_until <= now()),
)
_WANTING = select(_e.id).where(_is_free, or_(_has_due, _has_unread)).order_by(_e.id)
_TAKE = (
    update(webhook_endpoints)
    .where(_is_it, _is_free)
    .values(lease=bindparam("token"), leased_until=now(_seconds("seconds")))
)
_KEEP = (
    update(webhook_endpoints)
    .where(_is_held)
    .values(
        leased_until=now(_seconds("seconds")),
        failures=bindparam("in_a_row", type_=Integer),
        failing_since=case(
            (bindparam("in_a_row", type_=Integer) == 0, null()),
            (bindparam("recovered", type_=Boolean), now()),
            else_=func.coalesce(_e.failing_since, now()),
        ),
        rest_until=case((_seconds("rest") > 0, now(_seconds("rest"))), else_=null()),
    )
)
_these = _e.lease.in_(texts("tokens"))
_RENEW = update(webhook_endpoints).where(_these).values(leased_until=now(_seconds("seconds")))
_READ_ON = (
    update(webhook_endpoints)
    .where(_is_held)
    .values(
        leased_until=now(_seconds("seconds")),
        read_at=bindparam("to_at", type_=_e.read_at.type),
        read_order=bindparam("to_order"),
        read_seq=bindparam("to_seq"),
    )
)
_RELEASE = update(webhook_endpoints).where(_these).values(lease=null(), leased_until=null())
_IS_DEAD = select(_e.failing_since < now(_seconds("offset"))).where(_is_it)


def wanting(tx: Tx) -> list[str]:
    """Endpoints to which nobody delivers, and there may be something to deliver."""
    return list(tx.execute(_WANTING).scalars())


def take(tx: Tx, endpoint_id: str, token: str, seconds: float) -> Endpoint | None:
    """Take an endpoint to deliver to, for so many seconds; None if another was first."""
    taken = tx.execute(_TAKE, {"wanted": endpoint_id, "token": token, "seconds": seconds})
    return one(tx, endpoint_id) if taken.rowcount else None


def renew(tx: Tx, tokens: Collection[str], seconds: float) -> None:
    """Hold what is held by these tokens for so many seconds more."""
    tx.execute(_RENEW, {"tokens": pack((each,) for each in sorted(tokens)), "seconds": seconds})


def read_on(tx: Tx, endpoint_id: str, token: str, seconds: float, to: Position) -> Endpoint:
    """The feed has been made into deliveries up to there; it is held for `seconds` more. The endpoint
    as it is by now; LeaseLost if another has it."""
    values = {"to_at": to.at, "to_order": to.order_id, "to_seq": to.seq}
    held = tx.execute(
        _READ_ON, {"wanted": endpoint_id, "token": token, "seconds": seconds, **values}
    )
    return _ours(tx, endpoint_id, token, held)


def fared(
    tx: Tx,
    endpoint_id: str,
    token: str,
    seconds: float,
    *,
    failures: int,
    recovered: bool,
    rest: float,
) -> Endpoint:
    """As `read_on`, but it has failed so often in a row by now (`recovered`: but not before), so is left
    alone for `rest` seconds."""
    values = {"in_a_row": failures, "recovered": recovered, "rest": rest}
    held = tx.execute(_KEEP, {"wanted": endpoint_id, "token": token, "seconds": seconds, **values})
    return _ours(tx, endpoint_id, token, held)


def _ours(tx: Tx, endpoint_id: str, token: str, held: Any) -> Endpoint:
    if held.rowcount != 1:
        raise LeaseLost(token)
    return one(tx, endpoint_id)


def is_dead(tx: Tx, endpoint_id: str, seconds: float) -> bool:
    """Whether it has done nothing but fail for so many seconds."""
    return bool(tx.execute(_IS_DEAD, {"wanted": endpoint_id, "offset": -seconds}).scalar_one())


def release(tx: Tx, tokens: Collection[str]) -> None:
    """Let others deliver to the endpoints that are held by these tokens."""
    tx.execute(_RELEASE, {"tokens": pack((each,) for each in sorted(tokens))})


_was_found_dead = and_(_e.disabled_at.is_not(None), _e.disabled_by == OURSELVES)
_DEAD = _ALL.where(_was_found_dead)
_UNTOLD = _DEAD.where(_e.told_at.is_(None))
_TELL = (
    update(webhook_endpoints)
    .where(_e.id.in_(texts("wanted")), _e.disabled_at.is_not(None))
    .values(told_at=now())
)


def dead(tx: Tx) -> list[Endpoint]:
    """Those that were found dead, and that nobody has enabled since."""
    return [_endpoint(row) for row in tx.execute(_DEAD)]


def untold(tx: Tx) -> list[Endpoint]:
    """Those that were found dead, and nobody was told."""
    return [_endpoint(row) for row in tx.execute(_UNTOLD)]


def tell(tx: Tx, endpoint_ids: Iterable[str]) -> None:
    """Somebody was told of these. Twice is once."""
    tx.execute(_TELL, {"wanted": pack((each,) for each in endpoint_ids)})


#: As people are told of them, but `dead` beside `disabled`: we did it, and nobody has said that he knows.
STATES = ("enabled", "failing", "disabled", "dead")
_state = case(
    (_was_found_dead, "dead"),
    (_e.disabled_at.is_not(None), "disabled"),
    (_e.failures > 0, "failing"),
    else_="enabled",
).label("state")
_due = (
    select(_d.endpoint_id, func.count().label("deliveries"), func.min(_d.due_at).label("since"))
    .where(_d.state == "pending", _d.due_at <= now())
    .group_by(_d.endpoint_id)
    .subquery("due")
)
_BY_STATE = (
    select(
        _state,
        func.count().label("endpoints"),
        func.min(_e.failing_since).label("failing_since"),
        func.min(_e.read_at).label("read_until"),
        func.sum(_due.c.deliveries).label("due"),
        func.min(_due.c.since).label("due_since"),
    )
    .outerjoin(_due, _due.c.endpoint_id == _e.id)
    .group_by(_state)
)


def by_state(tx: Tx) -> dict[str, Any]:
    """By state: how many endpoints, since when the first of them has failed, up to when the feed was
    made into deliveries for the last of them; how many of these are due, and since when. Reads
    nothing of what was delivered."""
    return {r.state: r for r in tx.execute(_BY_STATE)}


_LIVE = select(func.count()).where(
    _e.source_id == bindparam("of_source", type_=Integer), _e.disabled_at.is_(None)
)


def count(tx: Tx, source_id: int) -> int:
    """How many endpoints of a source are delivered to."""
    return int(tx.execute(_LIVE, {"of_source": source_id}).scalar_one())
