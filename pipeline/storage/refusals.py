"""What intake refused from a message, and messages that can't be read: nobody waits there for a verdict,
so it is written down."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import (
    Float,
    Text,
    bindparam,
    func,
    insert,
    literal,
    null,
    select,
    tuple_,
    update,
)

from pipeline.erasure import ERASED
from pipeline.storage.database import Tx
from pipeline.storage.sql import UtcDateTime, now, pack, rows
from pipeline.storage.tables import refusals

_given = rows(refusals.c.external_id, refusals.c.problems)
_INSERT = insert(refusals).from_select(
    ["at", "source", "external_id", "problems"],
    select(now(), bindparam("source"), _given.c.external_id, _given.c.problems),
)
_LATEST = select(refusals).order_by(refusals.c.id.desc()).limit(bindparam("most"))
_ONE = select(refusals).where(refusals.c.id == bindparam("refusal"))


def add(tx: Tx, source: str, refused: Sequence[tuple[str | None, Sequence[Any]]]) -> None:
    """Write refused orders: (external id, problems), with the problems as text."""
    if refused:
        packed = pack((i, pack(str(p) for p in problems)) for i, problems in refused)
        tx.execute(_INSERT, {"rows": packed, "source": source[:64]})


_PUT_ASIDE = insert(refusals).from_select(
    ["at", "source", "problems", "queue", "message", "size"],
    select(
        now(),
        literal(""),
        bindparam("problems", type_=Text),
        bindparam("queue", type_=refusals.c.queue.type),
        bindparam("message", type_=Text),
        bindparam("size", type_=refusals.c.size.type),
    ),
)


def put_aside(tx: Tx, queue: str, why: str, message: str, size: int) -> None:
    """Write down a message that can't be read: where it came, why, its bytes as `message` (masked and
    bounded by the caller), and how many they were."""
    told = {"queue": queue[:32], "problems": pack([why]), "message": message, "size": size}
    tx.execute(_PUT_ASIDE, told)


_FORGET_MESSAGES = (
    update(refusals)
    .where(
        refusals.c.queue.is_not(None),
        refusals.c.message.is_not(None),
        refusals.c.at < now(bindparam("offset", type_=Float)),
    )
    .values(message=null())
)


def forget_messages(tx: Tx, seconds: float) -> int:
    """Forget the bytes of messages that were put aside longer ago than this; how many."""
    return int(tx.execute(_FORGET_MESSAGES, {"offset": -seconds}).rowcount)


_PUT_ASIDE_SINCE = select(func.count(), func.max(refusals.c.at)).where(
    refusals.c.queue.is_not(None), refusals.c.at > now(bindparam("offset", type_=Float))
)


def put_aside_since(tx: Tx, seconds: float) -> tuple[int, datetime | None]:
    """How many messages were put aside within so many seconds, and when the last one was."""
    count, last = tx.execute(_PUT_ASIDE_SINCE, {"offset": -seconds}).one()
    return count, last


_refused = rows(refusals.c.source, refusals.c.external_id)
_ERASE = update(refusals).values(problems=pack([ERASED]))
_ERASE_OF_ORDERS = _ERASE.where(
    tuple_(refusals.c.source, refusals.c.external_id).in_(select(*_refused.c))
)
_ERASE_OLD = _ERASE.where(
    refusals.c.source == bindparam("of_source"),
    refusals.c.at < bindparam("cutoff", type_=UtcDateTime),
    refusals.c.problems != pack([ERASED]),
)


def erase(tx: Tx, keys: Sequence[tuple[str, str]]) -> None:
    """Forget what was wrong, for it quotes what was sent, with orders by (source, external id)."""
    tx.execute(_ERASE_OF_ORDERS, {"rows": pack(keys)})


def erase_old(tx: Tx, source: str, cutoff: datetime) -> None:
    """The same, for what a source was refused before then."""
    tx.execute(_ERASE_OLD, {"of_source": source, "cutoff": cutoff})


def one(tx: Tx, refusal_id: int) -> Any:
    """A refusal by its number; None if there is none."""
    return tx.execute(_ONE, {"refusal": refusal_id}).one_or_none()


def latest(tx: Tx, most: int) -> list[Any]:
    """The newest refusals first."""
    return list(tx.execute(_LATEST, {"most": most}))
