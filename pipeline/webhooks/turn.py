"""A turn with one endpoint, under its lease: the feed made into deliveries, deliveries into exchanges,
and what came of these written down, until nothing is due."""

from __future__ import annotations

import asyncio
import ssl
import threading
import time
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

from pipeline.storage import feed, webhook_deliveries, webhooks
from pipeline.storage.database import Database
from pipeline.storage.webhook_deliveries import Result
from pipeline.storage.webhooks import OURSELVES, Endpoint
from pipeline.telemetry.metrics import WEBHOOK_ATTEMPTS
from pipeline.webhooks.exchange import LIMIT, Conversation, Resolve
from pipeline.webhooks.letters import Letter, letters
from pipeline.webhooks.schedule import DAY, DEAD_AFTER, REST_AFTER, Answer, health, judge
from pipeline.webhooks.signing import Signer
from pipeline.webhooks.targets import Allowed
from pipeline.webhooks.types import is_wanted, type_of

#: Deliveries that are read at once; events of the feed.
MOST, PAGE = 100, 500
#: With so many that were never attempted, the feed is not read on: it keeps them as well.
ENOUGH = 500
#: Exchanges with one endpoint at a time: enough to hide its latency, too few to harm it.
STRANDS = 8
#: Seconds between two transactions that write down what was answered: what may be sent again if we
#: die.
FLUSH = 0.5

_ARCHIVED = "its order has gone to the archive; GET /v1/orders/{id}/events tells of it"


@dataclass(frozen=True, slots=True)
class Pace:
    """Seconds between two looks for what there is to deliver; that a silent dispatcher keeps an
    endpoint (its lease is renewed at a quarter); for a whole exchange; after which a turn begins no
    other, so that whoever waits for a place gets it."""

    look: float = 1.0
    lease: float = 20.0
    limit: float = LIMIT
    turn: float = 60.0


@dataclass(frozen=True, slots=True)
class Tools:
    """What turns share. `ask` runs a function in a thread that may wait for the database."""

    database: Database
    signer: Signer
    allowed: Allowed
    tls: ssl.SSLContext
    pace: Pace
    ask: Callable[..., Awaitable[Any]]
    resolve: Resolve
    stopping: threading.Event


@dataclass(frozen=True, slots=True)
class Outcome:
    """What was answered to a letter that was sent at `began`; None: it could not be sent any more.
    `again`: it failed, and began when the failure before it was known already."""

    letter: Letter
    began: float
    answer: Answer | None
    again: bool = False


class Turn:
    """`endpoint` is ours by `token`."""

    def __init__(self, tools: Tools, endpoint: Endpoint, token: str) -> None:
        self._tools = tools
        self._endpoint = endpoint
        self._token = token
        self._outcomes: list[Outcome] = []
        self._failures = endpoint.failures
        self._failed_at = 0.0
        self._ends = time.monotonic() + tools.pace.turn

    async def run(self) -> None:
        """LeaseLost if another takes it over, or whatever the database says: then what was not
        written down is pending still."""
        while not self._is_over:
            found, more = await self._tools.ask(self._next)
            if found:
                await self._send(found)
            elif not more:
                return

    @property
    def _is_over(self) -> bool:
        """Whether nothing more is to be sent: it had better be left alone, others wait for the place,
        or we are to stop."""
        endpoint = self._endpoint
        return (
            self._tools.stopping.is_set()
            or time.monotonic() > self._ends
            or endpoint.disabled_at is not None
            or endpoint.rests
            or self._failures >= max(REST_AFTER, endpoint.failures + 1)
        )

    # --- What there is to send --------------------------------------------------------------------

    def _next(self) -> tuple[list[Letter], bool]:
        """Letters that are due, and whether the feed has more. After a failure one is tried alone."""
        more = self._read_on()
        most = 1 if self._endpoint.failures else MOST
        with self._tools.database.snapshot() as tx:
            due = webhook_deliveries.due(tx, self._endpoint.id, most)
            return letters(tx, self._endpoint.id, due), more

    def _read_on(self) -> bool:
        """Make a page of the feed into deliveries; whether there was more than that."""
        endpoint, database = self._endpoint, self._tools.database
        with database.snapshot() as tx:
            if webhook_deliveries.fresh(tx, endpoint.id, ENOUGH) >= ENOUGH:
                return False
        page = feed.read(database, endpoint.position, endpoint.source_id, PAGE)
        if page.end == endpoint.position:
            return False
        named = [
            (e["order_id"], e["seq"], type_of(e["kind"], e["from_status"], e["to_status"]))
            for e in page.events
        ]
        wanted = [each for each in named if is_wanted(each[2], endpoint.types)]
        with database.transaction() as tx:
            lease = self._tools.pace.lease
            self._endpoint = webhooks.read_on(tx, endpoint.id, self._token, lease, page.end)
            webhook_deliveries.add(tx, endpoint.id, wanted)
        return page.more

    # --- Sending it -------------------------------------------------------------------------------

    async def _send(self, found: Sequence[Letter]) -> None:
        """Several at a time; those of one order one after the other."""
        orders: dict[object, list[Letter]] = {}
        for letter in found:
            due = letter.delivery
            orders.setdefault(due.id if due.order_id is None else (due.order_id,), []).append(
                letter
            )
        waiting = deque(orders.values())
        tools = self._tools
        async with Conversation(
            self._endpoint.url, tools.resolve, tools.allowed, tools.tls, tools.pace.limit
        ) as talk:
            strands = {
                asyncio.create_task(self._strand(talk, waiting))
                for _ in range(min(STRANDS, len(waiting)))
            }
            try:
                going: set[asyncio.Task[None]] = strands
                while going:
                    _, going = await asyncio.wait(going, timeout=FLUSH)
                    await self._flush()
            finally:
                for strand in strands:
                    strand.cancel()
                await asyncio.gather(*strands, return_exceptions=True)
                await self._flush()
        for strand in strands:
            strand.result()

    async def _strand(self, talk: Conversation, waiting: deque[list[Letter]]) -> None:
        while waiting:
            for letter in waiting.popleft():
                if self._is_over:
                    return
                await self._attempt(talk, letter)

    async def _attempt(self, talk: Conversation, letter: Letter) -> None:
        began = time.monotonic()
        if letter.body is None:
            self._outcomes.append(Outcome(letter, began, None))
            return
        headers = self._tools.signer.headers(self._endpoint.seeds, letter.id, letter.body)
        answer = await talk.post(letter.body.encode(), headers)
        self._failures = 0 if answer.is_success else self._failures + 1
        again = not answer.is_success and began >= self._failed_at
        if again:
            self._failed_at = time.monotonic()
        self._outcomes.append(Outcome(letter, began, answer, again))

    # --- What came of it --------------------------------------------------------------------------

    async def _flush(self) -> None:
        outcomes, self._outcomes = self._outcomes, []
        if outcomes:
            await self._tools.ask(self._record, outcomes)

    def _record(self, outcomes: Sequence[Outcome]) -> None:
        """The endpoint first: if it is not ours any more, nothing of it is written."""
        answers = [outcome.answer for outcome in outcomes if outcome.answer is not None]
        again = [outcome.again for outcome in outcomes if outcome.answer is not None]
        found = health(self._endpoint.failures, answers, again)
        its = self._endpoint.id
        with self._tools.database.transaction() as tx:
            endpoint = webhooks.fared(
                tx, its, self._token, self._tools.pace.lease,
                failures=found.failures, recovered=found.recovered, rest=found.rest,
            )  # fmt: skip
            results = [_result(outcome) for outcome in outcomes]
            webhook_deliveries.settle(tx, results)
            if any(answer.is_gone for answer in answers):
                webhooks.disable(tx, its, OURSELVES, "it answered 410 Gone")
                endpoint = webhooks.one(tx, its)
            elif found.failures and webhooks.is_dead(tx, its, DEAD_AFTER):
                why = f"nothing got there for {DEAD_AFTER / DAY:g} days"
                webhooks.disable(tx, its, OURSELVES, why)
                endpoint = webhooks.one(tx, its)
        self._endpoint = endpoint
        for outcome, result in zip(outcomes, results, strict=True):
            if outcome.answer is not None:  # of an archived order nothing is sent
                WEBHOOK_ATTEMPTS.labels(result.state).inc()


def _result(outcome: Outcome) -> Result:
    delivery, answer = outcome.letter.delivery, outcome.answer
    age = time.monotonic() - outcome.began
    if answer is None:
        return Result(delivery.id, age, 0, None, _ARCHIVED, None, "failed", 0.0)
    state, delay = judge(answer, delivery.tries)
    return Result(
        delivery.id, age, answer.ms, answer.status, answer.error, answer.text, state, delay
    )
