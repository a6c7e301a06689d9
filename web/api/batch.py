"""Many orders at once: a line of JSON each in, a verdict each out, while they still come in.

Memory is bounded: a few hundred lines are in hand at a time, and no more is read before their
verdicts are sent.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from dataclasses import replace
from typing import Any

from fastapi import Request
from fastapi.responses import Response
from pydantic_core import to_json
from starlette.concurrency import run_in_threadpool

from pipeline.assembly import Application
from pipeline.intake.accept import DISPATCH_SIZE, Intake, Receipt, Verdict
from pipeline.intake.schema import MOST_BYTES
from pipeline.problems import Problem
from pipeline.source import Source
from web.api.examples import NDJSON, VERDICTS
from web.callers import Seller
from web.problems import Refusal, named, no_gateway
from web.routing import problems, router_of, takes
from web.streams import Lines, Stream, chunks
from web.strict_json import NotJson, parse

router = router_of("orders")

MEDIA_TYPE = "application/x-ndjson"
#: Seconds without anything more after which what has come is taken in; and until we hang up.
PAUSE = 0.02
PATIENCE = 60.0
#: Bytes in hand at once, so that long lines don't add up.
MOST_IN_HAND = 4 * MOST_BYTES

#: Bytes of one line's verdict, whatever is wrong with the order.
MOST_TOLD = 1_000
#: Of one source at once, in this process: each has megabytes in hand.
MOST_STREAMS = 8

Numbered = tuple[int, bytes | None]


async def _counted(intake: Intake, source: Source, request: Request) -> AsyncGenerator[bytes, None]:
    going = request.app.state.batches
    going[source.id] += 1
    try:
        async with aclosing(_verdicts(intake, source, request)) as verdicts:
            async for some in verdicts:
                yield some
    finally:
        going[source.id] -= 1


@router.post(
    "/orders/batch",
    operation_id="placeOrders",
    response_class=Response,
    responses={
        200: {"description": "A verdict a line", "content": {
            MEDIA_TYPE: {"schema": {"type": "string"}, "example": VERDICTS}}},
        **problems(408, 409, 415),
    },
    openapi_extra=takes("text", NDJSON, MEDIA_TYPE),
)  # fmt: skip
async def place_all(source: Seller, request: Request) -> Response:
    """Place any number of orders, a line of JSON each. A verdict a line comes back while they
    are still sent: read as you send, for who doesn't read is not read from. They go in the lane
    `bulk`. A line without a verdict is to be sent again."""
    media = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if media not in (MEDIA_TYPE, "application/ndjson", "application/jsonl"):
        raise Refusal(415, "", f"expected Content-Type: {MEDIA_TYPE}")
    app: Application = request.app.state.application
    if lack := app.choice.lack(source.name, source.policy):
        raise no_gateway(lack)
    if request.app.state.batches[source.id] >= MOST_STREAMS:
        raise Refusal(
            429, "rate-limited", f"{MOST_STREAMS} batches of {source.name} are being sent",
            headers={"Retry-After": "5"},
        )  # fmt: skip
    return Stream(_counted(app.intake, source.in_lane("bulk"), request), MEDIA_TYPE)


async def _verdicts(
    intake: Intake, source: Source, request: Request
) -> AsyncGenerator[bytes, None]:
    lines, waiting, size = Lines(MOST_BYTES), list[Numbered](), 0
    async for chunk in chunks(request.stream(), PAUSE, PATIENCE):
        ended = lines.feed(chunk) if chunk is not None else []
        waiting += ended
        size += len(chunk or b"")
        full = len(waiting) >= DISPATCH_SIZE or size >= MOST_IN_HAND
        while waiting and (chunk is None or full):
            now, waiting = waiting[:DISPATCH_SIZE], waiting[DISPATCH_SIZE:]
            yield await _take_in_turn(intake, source, now)
            full, size = len(waiting) >= DISPATCH_SIZE, 0
    waiting += lines.end()
    for start in range(0, len(waiting), DISPATCH_SIZE):
        some = waiting[start : start + DISPATCH_SIZE]
        yield await _take_in_turn(intake, source, some)


async def _take_in_turn(intake: Intake, source: Source, lines: Sequence[Numbered]) -> bytes:
    """Take lines in; and while shoppers order here, rest as long as that took. They share this
    process and its database, and the workers will be busy for longer than the request anyway."""
    began = time.monotonic()
    verdicts = await run_in_threadpool(take, intake, source, lines)
    if intake.has_shoppers:
        await asyncio.sleep(time.monotonic() - began)
    return verdicts


def take(intake: Intake, source: Source, lines: Sequence[Numbered]) -> bytes:
    """Take lines in with one commit; their verdicts, a line each. Blank lines have none."""
    written = [(n, line) for n, line in lines if line is None or line.strip()]
    read = [_read(line) for _, line in written]
    sound = iter(intake.accept_all(source, [r for r in read if not isinstance(r, Receipt)]))
    receipts = [r if isinstance(r, Receipt) else next(sound) for r in read]
    return b"".join(_verdict(n, receipt) for (n, _), receipt in zip(written, receipts, strict=True))


def _read(line: bytes | None) -> Any:
    """The JSON on a line, or a receipt that says why there is none."""
    if line is None:
        return _rejected(Problem("line", f"over {MOST_BYTES:,} bytes", "a shorter one"))
    try:
        return parse(line)
    except NotJson as error:
        return _rejected(Problem("line", f"{len(line):,} bytes", f"one order in JSON ({error})"))


def _rejected(problem: Problem) -> Receipt:
    return Receipt(Verdict.REJECTED, None, problems=(problem,))


def _verdict(number: int, receipt: Receipt) -> bytes:
    """A line. Of what is wrong as much is named as has room, the rest is counted; the first is named
    in any case, if need be by its beginning."""
    wrong = len(receipt.problems)
    while len(line := to_json(_told(number, receipt, wrong))) >= MOST_TOLD and wrong > 1:
        wrong = max(1, min(wrong - 1, wrong * MOST_TOLD // len(line)))
    if len(line) >= MOST_TOLD:
        first = receipt.problems[0]
        short = Problem(first.field[:20], first.value[:20], first.expected[:100])
        further = receipt.more + len(receipt.problems) - 1
        line = to_json(_told(number, replace(receipt, problems=(short,), more=further), 1))
    return line + b"\n"


def _told(number: int, receipt: Receipt, wrong: int) -> dict[str, Any]:
    told: dict[str, Any] = {
        "line": number, "external_id": receipt.external_id, "verdict": receipt.verdict,
    }  # fmt: skip
    if receipt.order_id is not None:
        told["id"] = receipt.order_id
    return told | named(receipt.problems[:wrong], receipt.more + len(receipt.problems) - wrong)
