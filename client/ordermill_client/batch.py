"""Any number of orders, and a verdict for each.

They go in parts, each a request of its own that is answered before the next is drawn: HTTP libraries
send all of a request before they read its answer, so of one endless request the verdicts would fill
the buffers between, and both sides wait. Parts keep memory constant and the server's pace; and where
a part is cut short, what it told stays told and only the rest of it is sent again.
"""

from __future__ import annotations

from collections.abc import AsyncIterable, Iterable
from typing import Any

from pydantic import ValidationError
from pydantic_core import PydanticSerializationError, to_json

from ordermill_client.errors import ApiError, BatchInterrupted, NoAnswer
from ordermill_client.given import AnyOrder
from ordermill_client.shapes import Verdict
from ordermill_client.steps import (
    END,
    Answer,
    Draw,
    Patience,
    Request,
    Retries,
    Send,
    Steps,
    Tell,
    Telling,
    failure,
    may_repeat,
)

#: Of a part, whichever is reached first; two commits of the server's. The verdicts of so many fit
#: into what the network holds, so nobody waits for the other to read.
MOST_LINES, MOST_BYTES = 1_000, 256_000

#: Lines by their number: what was given, and as it is sent.
Part = dict[int, tuple[Any, bytes]]


def place_all(
    retries: Retries, orders: Iterable[AnyOrder] | AsyncIterable[AnyOrder]
) -> Telling[Verdict]:
    """Place any number of orders: a verdict for each (`line` counts them from 1), in constant
    memory. At most a thousand are drawn ahead of the verdicts. A verdict is told once it is durable,
    and once only; BatchInterrupted tells which of those drawn have none. They go in the lane `bulk`."""
    source = aiter(orders) if isinstance(orders, AsyncIterable) else iter(orders)
    drawn, size, number = Part(), 0, 0
    while (order := (yield Draw(source))) is not END:
        number += 1
        line = _line(number, order)
        drawn[number] = (order, line)
        size += len(line)
        if len(drawn) >= MOST_LINES or size >= MOST_BYTES:
            yield from _place(drawn, retries)
            drawn, size = Part(), 0
    if drawn:
        yield from _place(drawn, retries)


def _line(number: int, order: Any) -> bytes:
    try:
        return to_json(order) + b"\n"
    except PydanticSerializationError as error:
        raise TypeError(f"order {number}: {error}") from None


def _place(part: Part, retries: Retries) -> Telling[Verdict]:
    """Send a part until each of its lines has its verdict."""
    patience = Patience(retries)
    while part:
        request = _request(part)
        answer: Answer = yield Send(request, patience.for_this_try())
        told = _verdicts(answer, list(part))
        for verdict in told:
            del part[verdict.line]
            yield Tell(verdict)
        if told:
            patience = Patience(retries)
        if part:
            yield from _pause(request, answer, part, patience)


def _request(part: Part) -> Request:
    return Request(
        "POST", "/v1/orders/batch", {}, {"Content-Type": "application/x-ndjson"},
        b"".join(line for _, line in part.values()),
    )  # fmt: skip


def _verdicts(answer: Answer, numbers: list[int]) -> list[Verdict]:
    """Those that came whole, numbered as the caller does."""
    if answer.status != 200:
        return []
    found: dict[int, Verdict] = {}
    for line in answer.body.split(b"\n")[:-1]:
        try:
            verdict = Verdict.model_validate_json(line)
        except ValidationError:
            break  # no verdict of the API's: something between us speaks
        if 1 <= verdict.line <= len(numbers):
            number = numbers[verdict.line - 1]
            found[number] = verdict.model_copy(update={"line": number})
    return list(found.values())


def _pause(request: Request, answer: Answer, part: Part, patience: Patience) -> Steps[None]:
    """Wait until `part`, what is left of one, is sent again."""
    error: ApiError | NoAnswer = failure(request, answer) or NoAnswer(
        "the answer ended before its last verdict"
    )
    unanswered = [(number, order) for number, (order, _) in part.items()]
    if not may_repeat(request, answer):
        raise BatchInterrupted(unanswered) from error
    try:
        yield patience.wait(error)
    except (ApiError, NoAnswer):
        raise BatchInterrupted(unanswered) from error
