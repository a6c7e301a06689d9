"""Who is let in: what uvicorn doesn't limit. A connection that sends no request is closed, the longest
silent one as soon as there is no room; requests in hand are counted, in all and by client."""

from __future__ import annotations

import asyncio
from collections import Counter
from http import HTTPStatus
from typing import Any, ClassVar

import h11
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.middleware.proxy_headers import ProxyHeadersMiddleware
from uvicorn.protocols.http.h11_impl import H11Protocol

from web.networks import network_of
from web.problems import problem

#: Seconds that a request's head has to come in, and what is left of its body once it is answered.
PATIENCE = 10.0
#: Seconds for which a client may leave what it is sent unread.
UNREAD = 120.0
#: Connections that a process holds. It has files to open beside them, of 1,024 as a rule.
MOST_CONNECTIONS = 800
#: Requests in hand: in all; and of one client, where a proxy that is named tells who that is.
MOST_REQUESTS, MOST_OF_ONE = 500, 200

#: What is answered however much is in hand: else a process that is well would be killed.
APART = "/healthz"


class _Connection(h11.Connection):
    """Refuses a request whose length is told twice: a proxy may believe the other one (RFC 9112,
    6.1), and take the rest of its body for another request."""

    def next_event(self) -> Any:
        event = super().next_event()
        if isinstance(event, h11.Request):
            names = {name for name, _ in event.headers}
            if {b"content-length", b"transfer-encoding"} <= names:
                raise h11.RemoteProtocolError("both Content-Length and Transfer-Encoding")
        return event


class DoorProtocol(H11Protocol):
    """HTTP/1.1 by uvicorn, on a connection that has to say something."""

    #: Connections that wait for their client: for a request, for what is left of one, or until it has
    #: read what it was sent. The longest silent first. `serving` gives each server its own.
    waiting: ClassVar[dict[DoorProtocol, None]]

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        most = self.config.h11_max_incomplete_event_size or 64 * 1024
        self.conn = _Connection(h11.SERVER, most)
        self._ends: asyncio.TimerHandle | None = None
        self._unread: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._watch()
        if len(self.connections) > MOST_CONNECTIONS:
            self.make_room()

    def connection_lost(self, exc: Exception | None) -> None:
        self.waiting.pop(self, None)
        self._stop_timer()
        self._stop_writing()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self._is_in_hand:
            self.waiting.pop(self, None)  # not silent: it goes behind the others
        self._watch()

    def eof_received(self) -> None:
        super().eof_received()
        self._end_within(UNREAD)

    def on_response_complete(self) -> None:
        super().on_response_complete()
        self._watch()

    def pause_writing(self) -> None:
        super().pause_writing()
        self._unread = self._unread or self.loop.call_later(UNREAD, self.transport.abort)
        self._watch()

    def resume_writing(self) -> None:
        self._stop_writing()
        super().resume_writing()
        self._watch()

    @classmethod
    def make_room(cls, *, in_hand: bool = False) -> bool:
        """Cut off the longest silent connection; with `in_hand` of those that have a request in hand.
        False: there is none."""
        for silent in cls.waiting:
            if silent._is_in_hand or not in_hand:
                silent.waiting.pop(silent)  # at once: others may come before it is lost
                silent.transport.abort()
                return True
        return False

    @property
    def _is_in_hand(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    def _watch(self) -> None:
        """See that the client says what is still to come, if that is all that is waited for. What a
        request's body may take while it is worked on is for who reads it to say."""
        is_to_say_more = self.conn.their_state in (h11.IDLE, h11.SEND_BODY)
        if self.transport.is_closing():  # what it was sent last may never be read
            self._stop_timer()
            self._end_within(UNREAD)
            return
        if is_to_say_more and not self._is_in_hand:
            self._end_within(PATIENCE)
        else:
            self._stop_timer()
        if is_to_say_more or self._unread:
            self.waiting.setdefault(self)
        else:
            self.waiting.pop(self, None)

    def _end_within(self, seconds: float) -> None:
        self._ends = self._ends or self.loop.call_later(seconds, self.transport.abort)

    def _stop_timer(self) -> None:
        if self._ends is not None:
            self._ends.cancel()
            self._ends = None

    def _stop_writing(self) -> None:
        if self._unread is not None:
            self._unread.cancel()
            self._unread = None


def serving() -> type[DoorProtocol]:
    """The protocol of one server."""

    class OfOneServer(DoorProtocol):
        waiting: ClassVar[dict[DoorProtocol, None]] = {}

    return OfOneServer


class Door:
    """ASGI: counts requests in hand, and sends away those beyond the limits, unless one whose client
    is silent makes room. `proxies` are believed what their X-Forwarded-For and X-Forwarded-Proto say
    (addresses and networks, by commas)."""

    def __init__(self, app: ASGIApp, proxies: str, protocol: type[DoorProtocol]) -> None:
        self._app = app
        self._protocol = protocol
        self._told = ProxyHeadersMiddleware(self._count, proxies)  # type: ignore[arg-type]
        self._all = 0
        self._by_client = Counter[str]()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] == APART:
            await self._app(scope, receive, send)
            return
        scope["peer"] = scope["client"]
        await self._told(scope, receive, send)  # type: ignore[arg-type]

    async def _count(self, scope: Scope, receive: Receive, send: Send) -> None:
        # Else it may be a proxy that nobody has named, with all clients behind it.
        by_name = scope["client"] != scope["peer"]
        client = network_of(scope["client"][0]) if by_name else None
        if self._all >= MOST_REQUESTS and not self._protocol.make_room(in_hand=True):
            await _full(HTTPStatus.SERVICE_UNAVAILABLE, "unavailable")(scope, receive, send)
            return
        if client is not None and self._by_client[client] >= MOST_OF_ONE:
            await _full(HTTPStatus.TOO_MANY_REQUESTS, "rate-limited")(scope, receive, send)
            return
        self._all += 1
        if client is not None:
            self._by_client[client] += 1
        try:
            await self._app(scope, receive, send)
        finally:
            self._all -= 1
            if client is not None:
                self._by_client[client] -= 1
                if not self._by_client[client]:
                    del self._by_client[client]


def _full(status: HTTPStatus, kind: str) -> Any:
    # A body that nobody has read must not be waited for.
    headers = {"Retry-After": "1", "Connection": "close"}
    return problem(status, "too many requests are in hand", headers, kind=kind)
