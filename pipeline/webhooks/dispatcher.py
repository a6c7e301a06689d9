"""Delivers webhooks: one task an endpoint, in an event loop of its own thread.

An endpoint that is slow or dead keeps its own task waiting, and no other. Any number of processes
may run a dispatcher: an endpoint's lease lets one of them deliver to it. Whoever dies with it leaves
deliveries that are pending still; when the lease has run out another sends them, those again of which
it was not yet written that they got there.
"""

from __future__ import annotations

import asyncio
import logging
import random
import ssl
import threading
import uuid
from collections.abc import AsyncIterator, Callable, Collection
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, TypeVar

import httpx

from pipeline.errors import LeaseLost
from pipeline.redaction import describe
from pipeline.storage import webhooks
from pipeline.storage.database import Database
from pipeline.storage.webhooks import Endpoint
from pipeline.webhooks import targets
from pipeline.webhooks.signing import Signer
from pipeline.webhooks.targets import Address, Allowed
from pipeline.webhooks.turn import Pace, Tools, Turn

log = logging.getLogger(__name__)
T = TypeVar("T")

#: Endpoints delivered to at once; what waits for the database at once, and for names.
ENDPOINTS, DATABASE_THREADS, NAMES = 200, 4, 64


class Dispatcher:
    """`tls` is how certificates are looked at; tests have one of their own."""

    def __init__(
        self,
        database: Database,
        signer: Signer,
        allowed: Allowed,
        *,
        pace: Pace | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._database = database
        self._pace = pace or Pace()
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self._in_hand: dict[str, asyncio.Task[None]] = {}
        #: Tokens of leases that are ours; of those that could not be handed back yet.
        self._held: set[str] = set()
        self._over: set[str] = set()
        # Of their own: names that nobody answers for must not keep others from the database.
        self._asking = ThreadPoolExecutor(DATABASE_THREADS, "webhooks database")
        self._resolving = ThreadPoolExecutor(NAMES, "webhooks names")
        self._tools = Tools(
            database, signer, allowed, tls or httpx.create_ssl_context(trust_env=False), self._pace,
            self._ask, self._resolve, self._stopping,
        )  # fmt: skip

    def start(self) -> None:
        """Deliver until told to stop."""
        run = partial(asyncio.run, self._run())
        self._thread = threading.Thread(target=run, name="webhooks", daemon=True)
        self._thread.start()

    def stop(self, patience: float) -> None:
        """Let exchanges in hand come to their end for so many seconds; those that haven't by then are
        cut off, and made again by another."""
        self._patience = patience
        self._stopping.set()
        if self._thread is not None:
            self._thread.join()
        self._asking.shutdown(wait=False, cancel_futures=True)
        self._resolving.shutdown(wait=False, cancel_futures=True)

    def deliver(self, *endpoint_ids: str) -> None:
        """Deliver what is due just now, to these endpoints or all, and return."""
        asyncio.run(self._deliver(endpoint_ids))

    async def _deliver(self, endpoint_ids: tuple[str, ...]) -> None:
        async with self._keeping():
            wanting = list(endpoint_ids) or await self._ask(self._wanting)
            await asyncio.gather(*(self._serve(each) for each in wanting))

    async def _run(self) -> None:
        async with self._keeping():
            await self._look_until_stopped()

    async def _look_until_stopped(self) -> None:
        while not self._stopping.is_set():
            try:
                await self._hand_back()
                wanting = await self._ask(self._wanting)
                random.shuffle(wanting)  # nobody is always last where there are too few places
                for endpoint_id in wanting:
                    self._begin(endpoint_id)
            except Exception as error:  # the database is away: it may be there next time
                log.warning("could not look for webhooks to deliver: %s", describe(error))
            await asyncio.sleep(self._pace.look)
        if self._in_hand:
            _, late = await asyncio.wait(self._in_hand.values(), timeout=self._patience)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)

    def _begin(self, endpoint_id: str) -> None:
        if endpoint_id not in self._in_hand and len(self._in_hand) < ENDPOINTS:
            task = asyncio.create_task(self._serve(endpoint_id))
            self._in_hand[endpoint_id] = task
            task.add_done_callback(lambda _: self._in_hand.pop(endpoint_id))

    async def _serve(self, endpoint_id: str) -> None:
        """Take an endpoint's lease, and a turn with it; nothing if another has it."""
        token = str(uuid.uuid4())
        try:
            try:
                endpoint = await self._ask(self._take, endpoint_id, token)
            except BaseException:  # it may have been taken, and the answer lost: it is raised again
                self._over.add(token)
                raise
            if endpoint is not None:
                self._held.add(token)
                try:
                    await Turn(self._tools, endpoint, token).run()
                finally:
                    self._held.discard(token)
                    self._over.add(token)
                    await self._hand_back()
        except LeaseLost:
            log.warning("webhook endpoint %s was taken over by another", endpoint_id)
        except Exception as error:  # what it was to be sent is pending still, and tried again
            log.warning("delivering to webhook endpoint %s: %s", endpoint_id, describe(error))

    def _wanting(self) -> list[str]:
        with self._database.snapshot() as tx:
            return webhooks.wanting(tx)

    def _take(self, endpoint_id: str, token: str) -> Endpoint | None:
        with self._database.transaction() as tx:
            return webhooks.take(tx, endpoint_id, token, self._pace.lease)

    async def _hand_back(self) -> None:
        """Let others have what we are done with. If the database is away we come again with the next
        look: nobody should have to wait until a lease runs out."""
        if over := frozenset(self._over):
            await self._ask(self._release, over)
            self._over -= over

    def _release(self, tokens: Collection[str]) -> None:
        with self._database.transaction() as tx:
            webhooks.release(tx, tokens)

    @asynccontextmanager
    async def _keeping(self) -> AsyncIterator[None]:
        """Renew the leases of what is in hand meanwhile."""
        keeper = asyncio.create_task(self._keep())
        try:
            yield
        finally:
            keeper.cancel()
            await asyncio.gather(keeper, return_exceptions=True)

    async def _keep(self) -> None:
        while True:
            await asyncio.sleep(self._pace.lease / 4)
            if held := frozenset(self._held):
                try:
                    await self._ask(self._renew, held)
                except Exception as error:  # the next time may do; if not, another takes them over
                    log.warning("could not renew leases of webhooks: %s", describe(error))

    def _renew(self, tokens: Collection[str]) -> None:
        with self._database.transaction() as tx:
            webhooks.renew(tx, tokens, self._pace.lease)

    async def _ask(self, do: Callable[..., T], *arguments: Any) -> T:
        """In a thread that may wait for the database. Once begun it is done: who is cancelled
        meanwhile waits no longer, but it is."""
        loop = asyncio.get_running_loop()
        return await asyncio.shield(loop.run_in_executor(self._asking, partial(do, *arguments)))

    async def _resolve(self, host: str, port: int) -> list[Address]:
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._resolving, targets.resolve, host, port)
