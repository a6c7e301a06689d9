"""Keys of the HTTP API. What is kept of a secret is its hash."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Float, and_, bindparam, case, insert, or_, select, update

from pipeline.errors import InvalidInput
from pipeline.storage.database import Tx
from pipeline.storage.sql import now
from pipeline.storage.tables import api_keys, sources

_key = api_keys.c


def _seconds(name: str) -> Any:
    return bindparam(name, type_=Float)


@dataclass(frozen=True, slots=True)
class NewKey:
    """What a key is made with; `lifetime` in seconds, None: until it is revoked."""

    name: str
    source_id: int | None
    scopes: Sequence[str]
    rate: int
    lifetime: float | None


@dataclass(frozen=True, slots=True)
class Kept:
    """A key as it is kept; `live`: neither revoked nor expired."""

    id: str
    digest: str
    name: str
    source_id: int | None
    scopes: list[str]
    rate: int
    created_at: datetime
    expires_at: datetime | None
    live: bool


_live = and_(_key.revoked_at.is_(None), or_(_key.expires_at.is_(None), _key.expires_at > now()))
_FIND = select(
    _key.id, _key.digest, _key.name, _key.source_id, _key.scopes, _key.rate, _key.created_at,
    _key.expires_at, _live.label("live"),
).where(_key.id == bindparam("wanted"))  # fmt: skip
_LOCK = _FIND.with_for_update()
_EXPIRE = update(api_keys).where(
    _key.id == bindparam("wanted"),
    or_(_key.expires_at.is_(None), _key.expires_at > now(_seconds("offset"))),
)
_EXPIRE_WITHIN = _EXPIRE.values(expires_at=now(_seconds("offset")))
_REVOKE = (
    update(api_keys)
    .where(_key.id == bindparam("wanted"), _key.revoked_at.is_(None))
    .values(revoked_at=now())
)
_TOUCH = (
    update(api_keys)
    .where(
        _key.id == bindparam("wanted"),
        or_(_key.last_used_at.is_(None), _key.last_used_at < now(_seconds("offset"))),
    )
    .values(last_used_at=now())
)
_ALL = (
    select(
        _key.id, _key.name, sources.c.name.label("source"), _key.scopes, _key.rate,
        _key.created_at, _key.created_by, _key.expires_at, _key.revoked_at, _key.last_used_at,
        case((_key.revoked_at.is_not(None), "revoked"), (_live, "valid"), else_="expired").label(
            "state"
        ),
    )
    .outerjoin(sources, sources.c.id == _key.source_id)
    .order_by(_key.created_at, _key.id)
)  # fmt: skip


def add(tx: Tx, key_id: str, digest: str, new: NewKey, by: str) -> None:
    """Keep a new key, by its secret's SHA-256."""
    row = {
        "id": key_id, "digest": digest, "name": new.name, "source_id": new.source_id,
        "scopes": json.dumps(list(new.scopes)), "rate": new.rate, "created_by": by,
        "created_at": now(), "expires_at": None if new.lifetime is None else now(new.lifetime),
    }  # fmt: skip
    tx.execute(insert(api_keys).values(row))


def find(tx: Tx, key_id: str) -> Kept | None:
    """The key of that id, valid or not."""
    found = tx.execute(_FIND, {"wanted": key_id}).one_or_none()
    return None if found is None else _kept(found)


def lock(tx: Tx, key_id: str) -> Kept:
    """The key of that id, locked; InvalidInput if there is none."""
    found = tx.execute(_LOCK, {"wanted": key_id}).one_or_none()
    if found is None:
        raise InvalidInput(f"there is no key {key_id!r}; `ordermill keys ls` shows those there are")
    return _kept(found)


def _kept(row: Any) -> Kept:
    return Kept(**{**row._mapping, "scopes": json.loads(row.scopes), "live": bool(row.live)})


def expire_within(tx: Tx, key_id: str, seconds: float) -> None:
    """Let it go on for so long at most."""
    tx.execute(_EXPIRE_WITHIN, {"wanted": key_id, "offset": seconds})


def revoke(tx: Tx, key_id: str) -> bool:
    """End it; False if it was revoked before. InvalidInput if there is none."""
    lock(tx, key_id)
    return bool(tx.execute(_REVOKE, {"wanted": key_id}).rowcount)


def touch(tx: Tx, key_id: str, seconds: float) -> None:
    """Note that it is in use, if that wasn't noted in the last `seconds`."""
    tx.execute(_TOUCH, {"wanted": key_id, "offset": -seconds})


def all_keys(tx: Tx) -> list[dict[str, Any]]:
    """All keys, the oldest first; without their hashes."""
    return [{**r._mapping, "scopes": json.loads(r.scopes)} for r in tx.execute(_ALL)]
