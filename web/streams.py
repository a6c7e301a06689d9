"""Streams in both directions at once: an answer that is sent while the request still comes in.

Starlette's StreamingResponse listens for a client that hangs up by reading the request, on servers of
ASGI before 2.4: it would take the body from under us.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from dataclasses import dataclass, field

from fastapi import HTTPException
from fastapi.responses import Response
from starlette.requests import ClientDisconnect
from starlette.types import Receive, Scope, Send

NEWLINE = b"\n"


@dataclass(slots=True)
class Lines:
    """Cuts chunks into lines. Of a line that is longer than `most` nothing is kept."""

    most: int
    number: int = 0
    _rest: bytearray = field(default_factory=bytearray)
    _skipping: bool = False

    def feed(self, chunk: bytes) -> list[tuple[int, bytes | None]]:
        """The lines that end in `chunk`, numbered from 1; None: it was too long."""
        *ended, rest = chunk.split(NEWLINE)
        found = []
        for part in ended:
            self._keep(part)
            found.append(self._line())
        self._keep(rest)
        return found

    def end(self) -> list[tuple[int, bytes | None]]:
        """The last line, where no newline ended it."""
        return [self._line()] if self._rest or self._skipping else []

    def _keep(self, part: bytes) -> None:
        self._rest += part
        if len(self._rest) > self.most:
            self._rest.clear()
            self._skipping = True
        elif self._skipping:
            self._rest.clear()

    def _line(self) -> tuple[int, bytes | None]:
        self.number += 1
        line = None if self._skipping else bytes(self._rest)
        self._rest.clear()
        self._skipping = False
        return self.number, line


async def chunks(
    stream: AsyncIterator[bytes], pause: float, patience: float
) -> AsyncGenerator[bytes | None, None]:
    """The chunks of a body; None where none has come for `pause` seconds: a time to do what was put
    off. 408 if none comes for `patience` seconds."""
    coming: asyncio.Future[bytes] | None = None
    try:
        while True:
            coming = asyncio.ensure_future(anext(stream))
            done, _ = await asyncio.wait({coming}, timeout=pause)
            if not done:
                yield None
                done, _ = await asyncio.wait({coming}, timeout=patience)
            if not done:
                raise HTTPException(408, f"nothing came for {patience:g} seconds")
            try:
                chunk = coming.result()
            except StopAsyncIteration:
                return
            if chunk:
                yield chunk
    finally:
        if coming is not None:
            coming.cancel()


class Stream(Response):
    """Sends what a generator makes as it makes it. It is asked for more when the last was sent: a
    client that doesn't read is not read from. What fails before the first is an answer like any
    other; after it the connection is cut, so that the end is not taken for the end."""

    def __init__(self, content: AsyncGenerator[bytes, None], media_type: str) -> None:
        super().__init__(media_type=media_type)
        del self.headers["content-length"]
        self._content = content

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async with aclosing(self._content) as content:
            try:
                first = await anext(content, b"")
                head = {"type": "http.response.start", "status": self.status_code}
                await send({**head, "headers": self.raw_headers})
                await send({"type": "http.response.body", "body": first, "more_body": True})
                async for part in content:
                    await send({"type": "http.response.body", "body": part, "more_body": True})
                await send({"type": "http.response.body", "body": b"", "more_body": False})
            except ClientDisconnect:
                return  # it has hung up: what was done for it stays
