"""Keys of the HTTP API: who calls, and what for. The secret is shown once, and kept as a hash."""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from collections.abc import Collection
from dataclasses import dataclass
from enum import StrEnum

from pipeline.errors import InvalidInput
from pipeline.source import Source
from pipeline.storage import api_keys, sources
from pipeline.storage.api_keys import NewKey
from pipeline.storage.database import Tx
from pipeline.typed import text


class Scope(StrEnum):
    """What a key is good for."""

    ORDERS_WRITE = "orders:write"
    ORDERS_READ = "orders:read"
    QUOTES = "quotes"
    CATALOGUE_WRITE = "catalogue:write"
    CATALOGUE_READ = "catalogue:read"
    STOCK_WRITE = "stock:write"
    STOCK_READ = "stock:read"
    WEBHOOKS = "webhooks"  # endpoints: where a source is told of its orders
    OPERATE = "operate"  # cancel, requeue, refund; for operators queues and jobs too
    METRICS = "metrics"  # how the whole shop is doing, in figures


#: The catalogue and the stock are the whole shop's: a source may look at them.
OF_SOURCES = frozenset(Scope) - {Scope.CATALOGUE_WRITE, Scope.STOCK_WRITE, Scope.METRICS}
#: Placing and pricing are done in a source's name, which an operator's key doesn't have.
OF_OPERATORS = frozenset(Scope) - {Scope.ORDERS_WRITE, Scope.QUOTES}
#: What a source's key gets that is made without scopes; an operator's gets all it may have.
USUAL = frozenset({Scope.ORDERS_WRITE, Scope.ORDERS_READ, Scope.QUOTES})

RATE = 100
MOST_RATE = 1_000_000
LONGEST_LIFE = 10 * 366 * 86_400.0

_WRITTEN = re.compile(r"om_live_([0-9a-f]{12})_([0-9a-f]{64})")


@dataclass(frozen=True, slots=True)
class Key:
    """A key that is valid. `source` is whose orders it is for; None: an operator's, for all. `rate`
    is in requests a second, for each process that serves them."""

    id: str
    name: str
    source: Source | None
    scopes: frozenset[str]
    rate: int

    @property
    def actor(self) -> str:
        """Whose name an action leaves in the timeline."""
        return f"api:{self.name}"[:64]


def create(
    tx: Tx,
    name: str,
    by: str,
    *,
    source: str | None,
    scopes: Collection[Scope] = (),
    lifetime: float | None = None,
    rate: int = RATE,
) -> str:
    """Make a key for a source, or (None) an operator, valid for `lifetime` seconds or until it is
    revoked. Returns it in full: nobody can again. InvalidInput says what is wrong."""
    allowed = OF_OPERATORS if source is None else OF_SOURCES
    wanted = frozenset(scopes) or (OF_OPERATORS if source is None else USUAL)
    if refused := sorted(wanted - allowed):
        whose = "an operator's key" if source is None else "a source's key"
        raise InvalidInput(f"--scope: got {refused[0]}, expected of {whose}: {_listed(allowed)}")
    if not 0 < rate <= MOST_RATE:
        raise InvalidInput(f"--rate: got {rate}, expected 1 to {MOST_RATE:,} requests a second")
    if lifetime is not None and not 0 < lifetime <= LONGEST_LIFE:
        raise InvalidInput("--expires: expected a time of at most ten years, such as 90d")
    source_id = None if source is None else sources.by_name(tx, source).id
    new = NewKey(text("name", name, 58), source_id, sorted(wanted), rate, lifetime)
    return _issue(tx, new, by)


def rotate(tx: Tx, key_id: str, overlap: float, by: str) -> str:
    """Make a successor, with the same name, source, scopes, rate and lifetime; the old key goes on
    for `overlap` seconds at most. Returns the new one in full."""
    old = api_keys.lock(tx, key_id)
    if not old.live:
        raise InvalidInput(f"key {key_id} is not valid any more: make a new one")
    lifetime = (old.expires_at - old.created_at).total_seconds() if old.expires_at else None
    api_keys.expire_within(tx, key_id, overlap)
    return _issue(tx, NewKey(old.name, old.source_id, old.scopes, old.rate, lifetime), by)


def find(tx: Tx, written: str) -> Key | None:
    """The key that is written so, if it is one of ours and valid by the database's clock."""
    read = _WRITTEN.fullmatch(written)
    found = api_keys.find(tx, read[1]) if read else None
    if read is None or found is None or not found.live:
        return None
    if not hmac.compare_digest(found.digest, _digest(read[2])):
        return None
    source = None if found.source_id is None else sources.all_sources(tx)[found.source_id]
    return Key(found.id, found.name, source, frozenset(found.scopes), found.rate)


def is_one(written: str) -> bool:
    """Whether it has a key's form: what hasn't need not be looked up."""
    return _WRITTEN.fullmatch(written) is not None


def _issue(tx: Tx, new: NewKey, by: str) -> str:
    key_id, secret = secrets.token_hex(6), secrets.token_hex(32)
    api_keys.add(tx, key_id, _digest(secret), new, by)
    return f"om_live_{key_id}_{secret}"


def _digest(secret: str) -> str:
    # 256 random bits can't be guessed from a list: no slow hash is needed.
    return hashlib.sha256(secret.encode()).hexdigest()


def _listed(scopes: Collection[Scope]) -> str:
    return ", ".join(scope.value for scope in Scope if scope in scopes)
