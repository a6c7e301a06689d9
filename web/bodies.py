"""Reading a request's body, up to a limit: what is longer is refused before it is in memory."""

from __future__ import annotations

from http import HTTPStatus

from fastapi import HTTPException, Request


async def read_body(request: Request, most: int) -> bytes:
    """The body, of `most` bytes; a longer one is answered with 413."""
    declared = request.headers.get("content-length", "")
    if declared.isdecimal() and int(declared) > most:
        raise _too_long(most)
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > most:
            raise _too_long(most)
    return bytes(body)


def _too_long(most: int) -> HTTPException:
    return HTTPException(
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"the body is longer than {most:,} bytes"
    )
