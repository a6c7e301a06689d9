"""Reading a request's body, up to a limit: what is longer is refused before it is in memory."""

from __future__ import annotations

import asyncio
from http import HTTPStatus

from fastapi import HTTPException, Request

#: Seconds that a body has to come in: a client that is slower holds up whoever waits for it to end.
PATIENCE = 10.0


async def read_body(request: Request, most: int) -> bytes:
    """The body, of `most` bytes; a longer one is answered with 413, one that takes longer than
    `PATIENCE` to come with 408."""
    declared = request.headers.get("content-length", "")
    if declared.isdecimal() and int(declared) > most:
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
