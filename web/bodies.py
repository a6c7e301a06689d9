"""Reading a request's body, up to a limit: what is longer is refused before it is in memory."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Any, TypeVar

from fastapi import HTTPException, Request
from pydantic import BaseModel, ValidationError
from starlette.concurrency import run_in_threadpool

from pipeline.typed import is_digits
from web.problems import Refusal, refused_by
from web.strict_json import NotJson, parse

Model = TypeVar("Model", bound=BaseModel)
#: Bytes of a body that is no order.
SMALL = 100_000
#: Bytes of JSON that are read and checked in less than ten milliseconds, whatever they are.
LONG = 8_192

#: Seconds that a body has to come in: a client that is slower holds up whoever waits for it to end.
PATIENCE = 10.0


async def read_body(request: Request, most: int) -> bytes:
    """The body, of `most` bytes; a longer one is answered with 413, one that takes longer than
    `PATIENCE` to come with 408."""
    declared = request.headers.get("content-length", "")
    if is_digits(declared) and int(declared) > most:
        raise _too_long(most)
    body = bytearray()
    try:
        async with asyncio.timeout(PATIENCE):
            async for chunk in request.stream():
                body += chunk
                if len(body) > most:
                    raise _too_long(most)
    except TimeoutError:
        raise HTTPException(
            HTTPStatus.REQUEST_TIMEOUT,
            f"the body did not come in {PATIENCE:g} seconds",
            {"Connection": "close"},
        ) from None
    return bytes(body)


def _too_long(most: int) -> HTTPException:
    return HTTPException(
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"the body is longer than {most:,} bytes"
    )


async def read_json(request: Request, most: int) -> Any:
    """The body as JSON, of at most `most` bytes. Refusal 413, 415, or 400 says what is wrong."""
    return await parsed(await read_unparsed(request, most))


async def read_unparsed(request: Request, most: int) -> bytes:
    """A body that says it is JSON, for who parses it later."""
    if not _is_json(request.headers.get("content-type", "")):
        raise Refusal(
            HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "", "expected Content-Type: application/json"
        )
    return await read_body(request, most)


async def parsed(raw: bytes) -> Any:
    """JSON. What takes long is read beside the loop that serves everyone. Refusal 400: it is none."""
    try:
        return parse(raw) if len(raw) < LONG else await run_in_threadpool(parse, raw)
    except NotJson as error:
        raise Refusal(HTTPStatus.BAD_REQUEST, "malformed", str(error)) from None


def is_long(request: Request) -> bool:
    """Whether its body takes so long to read, or to check, that others would wait for it."""
    length = request.headers.get("content-length", "")
    return not is_digits(length) or int(length) >= LONG


def reads(model: type[Model], most: int = SMALL) -> Callable[[Request], Awaitable[Model]]:
    """A dependency: the body as `model`. Put it after the caller's: who may not ask is not heard."""

    async def read(request: Request) -> Model:
        data = await read_json(request, most)
        return await run_in_threadpool(checked, data) if is_long(request) else checked(data)

    def checked(data: Any) -> Model:
        try:
            return model.model_validate(data)
        except ValidationError as error:
            raise refused_by(error) from None

    return read


def _is_json(content_type: str) -> bool:
    media, _, parameters = content_type.partition(";")
    charset = parameters.strip().lower()
    return media.strip().lower() == "application/json" and (
        not charset.startswith("charset=") or charset[8:].strip('"') == "utf-8"
    )
