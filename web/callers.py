"""Who calls: the key that a request bears, and what it is good for.

Keys are remembered for a few seconds: one that is revoked, or whose source's policy has changed, is
served as it was until then, by each process for itself.
"""

from __future__ import annotations

import asyncio
import logging
import time
from contextlib import AbstractContextManager
from dataclasses import dataclass
from http import HTTPStatus
from typing import Annotated

from fastapi import Depends, Request, Security
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer, SecurityScopes
from starlette.concurrency import run_in_threadpool

from pipeline import access
from pipeline.access import Key, Scope
from pipeline.assembly import Application
from pipeline.errors import UnknownOrder
from pipeline.source import Source
from pipeline.storage import api_keys
from pipeline.storage.database import Database, Tx
from web.problems import Refusal
from web.rates import Bucket

log = logging.getLogger(__name__)

#: Seconds for which a key is remembered, and between two notes that it is in use.
REMEMBERED = 5.0
NOTED = 60.0
#: Keys that are remembered at once, made-up ones among them.
MOST_KEYS = 10_000

_bearer = HTTPBearer(
    auto_error=False, scheme_name="key", bearerFormat="om_live_…",
    description="A key of `ordermill keys create`: `Authorization: Bearer om_live_…`",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Caller:
    """Who asks, and for whom."""

    app: Application
    key: Key

    @property
    def actor(self) -> str:
        return self.key.actor

    @property
    def source_id(self) -> int | None:
        """Whose orders it may see; None: all."""
        return None if self.key.source is None else self.key.source.id

    @property
    def source_name(self) -> str | None:
        return None if self.key.source is None else self.key.source.name

    @property
    def owner(self) -> str:
        """Among whose Idempotency-Keys this one's are: a key's successor repeats what it began."""
        return "operators" if self.key.source is None else f"source {self.key.source.id}"

    def read(self) -> AbstractContextManager[Tx]:
        return self.app.database.snapshot()

    def write(self) -> AbstractContextManager[Tx]:
        return self.app.database.transaction()

    def require(self, order_id: int, source_id: int) -> None:
        """Another source's order is not there: who asks learns nothing of it."""
        if self.source_id not in (None, source_id):
            raise UnknownOrder(order_id)


class Keys:
    """The keys that this process has met. Used by the event loop's thread only."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._known: dict[str, tuple[float, Key | None]] = {}
        self._buckets: dict[str, Bucket] = {}
        self._noted: dict[str, float] = {}
        self._notes: set[asyncio.Task[None]] = set()

    async def find(self, written: str) -> Key | None:
        """The valid key that is written so."""
        if not access.is_one(written):
            return None
        until, key = self._known.get(written, (0.0, None))
        if time.monotonic() >= until:
            key = await run_in_threadpool(self._look_up, written)
            if len(self._known) >= MOST_KEYS:
                self._known.clear()
            self._known[written] = (time.monotonic() + REMEMBERED, key)
        if key is not None:
            self._note(key.id)
        return key

    def bucket(self, key: Key) -> Bucket:
        found = self._buckets.get(key.id)
        if found is None or found.rate != key.rate:
            found = self._buckets[key.id] = Bucket(key.rate)
        return found

    def _look_up(self, written: str) -> Key | None:
        with self._database.snapshot() as tx:
            return access.find(tx, written)

    def _note(self, key_id: str) -> None:
        """Write down that it is in use, beside the request that it came with."""
        now = time.monotonic()
        if now >= self._noted.get(key_id, 0.0):
            self._noted[key_id] = now + NOTED
            task = asyncio.create_task(run_in_threadpool(self._touch, key_id))
            self._notes.add(task)
            task.add_done_callback(self._notes.discard)

    def _touch(self, key_id: str) -> None:
        try:
            with self._database.transaction() as tx:
                api_keys.touch(tx, key_id, NOTED)
        except Exception as error:  # nobody waits for it, and in a minute it is tried again
            log.warning("could not note that key %s is in use: %s", key_id, type(error).__name__)


async def caller(
    request: Request,
    scopes: SecurityScopes,
    given: Annotated[HTTPAuthorizationCredentials | None, Depends(_bearer)],
) -> Caller:
    """Whose key the request bears: 401 without a valid one, 429 if it asks too often, 403 if it
    isn't for this."""
    keys: Keys = request.app.state.keys
    key = None if given is None else await keys.find(given.credentials)
    if key is None:
        raise Refusal(
            HTTPStatus.UNAUTHORIZED, "unauthenticated",
            "expected Authorization: Bearer and a key that is valid",
            headers={"WWW-Authenticate": "Bearer"},
        )  # fmt: skip
    request.state.key = key.id
    bucket = keys.bucket(key)
    allowed = bucket.take()
    request.state.rate = bucket.headers()
    if not allowed:
        raise Refusal(
            HTTPStatus.TOO_MANY_REQUESTS, "rate-limited",
            f"more than {key.rate} requests a second", headers={"Retry-After": "1"},
        )  # fmt: skip
    if missing := [scope for scope in scopes.scopes if scope not in key.scopes]:
        raise Refusal(
            HTTPStatus.FORBIDDEN, "forbidden", f"the key lacks the scope {', '.join(missing)}"
        )
    return Caller(request.app.state.application, key)


async def operator(caller: Annotated[Caller, Depends(caller)]) -> Caller:
    """A caller for the whole shop: what concerns all sources is not one source's to do."""
    if caller.key.source is not None:
        raise Refusal(HTTPStatus.FORBIDDEN, "forbidden", "expected an operator's key")
    return caller


async def seller(caller: Annotated[Caller, Depends(caller)]) -> Source:
    """The source that a caller speaks for."""
    if caller.key.source is None:
        raise Refusal(HTTPStatus.FORBIDDEN, "forbidden", "expected a source's key")
    return caller.key.source


Reader = Annotated[Caller, Security(caller, scopes=[Scope.ORDERS_READ])]
Steerer = Annotated[Caller, Security(caller, scopes=[Scope.OPERATE])]
Operator = Annotated[Caller, Security(operator, scopes=[Scope.OPERATE])]
Seller = Annotated[Source, Security(seller, scopes=[Scope.ORDERS_WRITE])]
Quoter = Annotated[Source, Security(seller, scopes=[Scope.QUOTES])]
HookKeeper = Annotated[Caller, Security(caller, scopes=[Scope.WEBHOOKS])]
Hooker = Annotated[Source, Security(seller, scopes=[Scope.WEBHOOKS])]
CatalogueReader = Annotated[Caller, Security(caller, scopes=[Scope.CATALOGUE_READ])]
CatalogueWriter = Annotated[Caller, Security(operator, scopes=[Scope.CATALOGUE_WRITE])]
StockReader = Annotated[Caller, Security(caller, scopes=[Scope.STOCK_READ])]
LedgerReader = Annotated[Caller, Security(operator, scopes=[Scope.STOCK_READ])]
StockWriter = Annotated[Caller, Security(operator, scopes=[Scope.STOCK_WRITE])]
Scraper = Annotated[Caller, Security(operator, scopes=[Scope.METRICS])]
