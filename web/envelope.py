"""What every answer bears: the request's id, headers of safety, how much more may be asked; and the
line that the log has of it."""

from __future__ import annotations

import logging
import re
import time
import uuid
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from pipeline.telemetry import tracing
from pipeline.telemetry.logs import bound
from pipeline.telemetry.metrics import HTTP_REQUESTS, HTTP_SECONDS

log = logging.getLogger("web.access")

#: What is taken over of a client's own id; it stands in our log.
_ID = re.compile(r"[\w.:/+=-]{1,64}", re.ASCII)

#: Others are nobody's, and may be any text.
_METHODS = frozenset({"GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE"})

_ALWAYS = {
    "X-Content-Type-Options": "nosniff",
    "Cache-Control": "no-store",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
}


def headers_of(scope: Scope) -> Mapping[str, str]:
    """The headers that an answer to this request bears, whatever it is."""
    state: dict[str, Any] = scope["state"]
    return {**_ALWAYS, "X-Request-Id": state["request_id"], **state.get("rate", {})}


class Envelope:
    """ASGI middleware. Passes on what is sent and received as it is: bodies may be endless."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        asked = Headers(scope=scope)
        given = asked.get("x-request-id", "")
        request_id = given if _ID.fullmatch(given) else uuid.uuid4().hex
        scope.setdefault("state", {})["request_id"] = request_id
        began = time.perf_counter()

        async def send_in_envelope(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in headers_of(scope).items():
                    headers.setdefault(name, value)
                _tell(scope, message["status"], time.perf_counter() - began, span)
            await send(message)

        with bound(request=request_id), _traced(scope, asked) as span:
            await self._app(scope, receive, send_in_envelope)


def _traced(scope: Scope, asked: Headers) -> AbstractContextManager[Any]:
    """What upstream systems ask for is theirs to follow; the rest is our own."""
    if scope["path"].startswith("/v1/"):
        return tracing.request(scope["method"], asked.get("traceparent"))
    return nullcontext()


def _route(scope: Scope) -> str:
    """As the code has it, so that there are few: /v1/orders/{order_id}."""
    found = scope.get("route")
    return "none" if found is None else scope.get("root_path", "") + found.path


def _tell(scope: Scope, status: int, seconds: float, span: Any) -> None:
    method = scope["method"] if scope["method"] in _METHODS else "other"
    route = _route(scope)
    HTTP_SECONDS.labels(method, route).observe(seconds)
    HTTP_REQUESTS.labels(method, route, str(status)).inc()
    if span is not None:
        tracing.name_request(span, method, route, status)
    # What went well is told for who looks closely: a line an order would cost more than the order.
    level = logging.DEBUG if status < 400 else logging.INFO
    if log.isEnabledFor(level):
        state = scope["state"]
        log.log(
            level,
            "%s %s %d in %.1f ms, request %s, key %s",
            scope["method"], scope["path"].encode("unicode_escape").decode()[:200], status,
            seconds * 1000, state["request_id"], state.get("key", "none"),
        )  # fmt: skip
