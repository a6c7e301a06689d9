"""What was answered under an Idempotency-Key, kept in the transaction of what was done: the same
request again is answered the same, and does nothing."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from sqlalchemy import Float, String, Text, bindparam, delete, select

from pipeline.errors import InvalidInput
from pipeline.storage.database import Tx
from pipeline.storage.sql import now
from pipeline.storage.tables import idempotency
from pipeline.storage.upsert import InsertNew

_is_it = (idempotency.c.owner == bindparam("whose")) & (idempotency.c.key == bindparam("under"))
_new: Any = select(
    bindparam("whose", type_=String), bindparam("under", type_=String),
    bindparam("digest", type_=String), bindparam("answer", type_=Text), now(),
)  # fmt: skip
_CLAIM = InsertNew(
    idempotency,
    ["owner", "key", "digest", "answer", "at"],
    _new,
    returning=[idempotency.c.key],
)
_READ = select(idempotency.c.digest, idempotency.c.answer).where(_is_it)
_KEEP = idempotency.update().where(_is_it).values(answer=bindparam("told"))
_FORGET = delete(idempotency).where(idempotency.c.at < now(bindparam("offset", type_=Float)))


class KeyReused(InvalidInput):
    """An Idempotency-Key came with another request than before."""


def once(
    tx: Tx, owner: str, key: str, digest: str, act: Callable[[], Mapping[str, Any]]
) -> dict[str, Any]:
    """What `act` returns, as JSON; or what it returned when it was done under this key of `owner`.
    `digest` names the request. Two at once: the second waits for the first one's transaction.
    KeyReused if the key was another request's."""
    names = {"whose": owner, "under": key}
    if _CLAIM(tx, {**names, "digest": digest, "answer": ""}).one_or_none() is not None:
        told = json.dumps(dict(act()), default=str)
        tx.execute(_KEEP, {**names, "told": told})
    else:
        before = tx.execute(_READ, names).one()
        if before.digest != digest:
            raise KeyReused(f"Idempotency-Key {key} was given with another request")
        told = before.answer
    answer: dict[str, Any] = json.loads(told)
    return answer


def forget(tx: Tx, seconds: float) -> int:
    """Delete answers older than this; how many."""
    return int(tx.execute(_FORGET, {"offset": -seconds}).rowcount)
