"""Errors as RFC 9457 says: application/problem+json, with our sentence as the detail."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as SqlTimeoutError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from pipeline.errors import (
    EndpointDisabled,
    InvalidInput,
    NotAllowedNow,
    UnknownDelivery,
    UnknownEndpoint,
    UnknownGateway,
    UnknownOrder,
)
from pipeline.problems import Problem, Refused, problems
from pipeline.redaction import describe
from pipeline.storage.database import Database
from pipeline.storage.idempotency import KeyReused

log = logging.getLogger(__name__)

AWAY_SECONDS = 5
MEDIA_TYPE = "application/problem+json"

#: Kinds of problems that a program may want to tell apart, by slug; all others are `about:blank`.
TYPES: dict[str, str] = {
    "malformed": "The body can't be read",
    "invalid": "Fields are wrong",
    "unauthenticated": "No valid key",
    "forbidden": "The key is not for this",
    "conflict": "The same external_id, or reference, with another content",
    "no_gateway": "Its source names no gateway",  # the reason that orders are held for, too
    "not-allowed-now": "Its status forbids it",
    "version-passed": "It has changed since",
    "key-reused": "The Idempotency-Key was another request's",
    "rate-limited": "Too many requests",
    "unavailable": "Come again later",
}


def type_of(kind: str) -> str:
    """The URI that names a kind of problem: to be compared, not to be opened (RFC 4151)."""
    return f"tag:ordermill,2026:problems/{kind}" if kind in TYPES else "about:blank"


class Refusal(HTTPException):
    """An answer that is a problem, of a kind; `wrong` names every bad field, up to 100; `more_wrong`
    is how many others there are."""

    def __init__(
        self,
        status: int,
        kind: str,
        detail: str,
        *,
        wrong: Sequence[Problem] = (),
        more_wrong: int = 0,
        headers: Mapping[str, str] | None = None,
        **more: Any,
    ) -> None:
        super().__init__(status, detail, dict(headers or {}))
        self.kind = kind
        self.members = {**more, **named(wrong, more_wrong)}


def named(wrong: Sequence[Problem], more: int) -> dict[str, Any]:
    """As members of an answer: what is wrong, and how many more such things there are, if any."""
    errors = {"errors": [asdict(each) for each in wrong]} if wrong else {}
    return {**errors, "more_errors": more} if more else errors


def invalid(wrong: Sequence[Problem], more: int = 0) -> Refusal:
    """422, with every bad field; `more` is how many others there are."""
    fields = ", ".join(each.field for each in wrong[:5])
    others = max(0, len(wrong) - 5) + more
    told = f"wrong: {fields} and {others:,} more" if others else f"wrong: {fields}"
    return Refusal(HTTPStatus.UNPROCESSABLE_ENTITY, "invalid", told, wrong=wrong, more_wrong=more)


def refused_by(error: Refused, skip: int = 0) -> Refusal:
    """422, with what a model found wrong; `skip` so many parts of each path."""
    found = problems(error, skip)
    return invalid(found, len(error.errors()) - len(found))


def no_gateway(lack: str) -> Refusal:
    """409, as `lack` says: whoever sends orders comes again once an operator has named a gateway."""
    return Refusal(HTTPStatus.CONFLICT, "no_gateway", f"{lack}; nothing was taken in")


def refusal_of(error: InvalidInput) -> Refusal:
    """What the API answers to a request that the pipeline refuses."""
    detail = str(error)
    match error:
        case UnknownOrder() | UnknownEndpoint() | UnknownDelivery():
            return Refusal(HTTPStatus.NOT_FOUND, "", detail)
        case NotAllowedNow() | EndpointDisabled():
            return Refusal(HTTPStatus.CONFLICT, "not-allowed-now", detail)
        case KeyReused():
            return Refusal(HTTPStatus.UNPROCESSABLE_ENTITY, "key-reused", detail)
        case _:
            return Refusal(HTTPStatus.UNPROCESSABLE_ENTITY, "invalid", detail)


def problem(
    status: int,
    detail: str,
    headers: Mapping[str, str] | None = None,
    *,
    kind: str = "",
    **more: Any,
) -> Response:
    """The answer with that status. `detail` goes to whoever asked: nothing secret."""
    title = TYPES.get(kind) or HTTPStatus(status).phrase
    body = {"type": type_of(kind), "title": title, "status": status, "detail": detail, **more}
    return JSONResponse(body, status, headers, MEDIA_TYPE)


def unavailable(seconds: int = AWAY_SECONDS) -> Response:
    return problem(
        HTTPStatus.SERVICE_UNAVAILABLE,
        "the database can't be used just now",
        {"Retry-After": str(seconds)},
        kind="unavailable",
    )


def answer_with_problems(
    app: FastAPI, database: Database, headers: Callable[[Any], Mapping[str, str]]
) -> None:
    """Let errors that routes raise become problems. `headers` are those of every answer, by ASGI
    scope: what answers to a defect stands outside of what adds them."""

    def answer(error: HTTPException) -> Response:
        kind, more = (error.kind, error.members) if isinstance(error, Refusal) else ("", {})
        return problem(error.status_code, error.detail, error.headers, kind=kind, **more)

    @app.exception_handler(UnknownGateway)
    def unknown(_: Request, error: UnknownGateway) -> Response:
        return problem(HTTPStatus.NOT_FOUND, str(error))

    @app.exception_handler(InvalidInput)
    def refused(_: Request, error: InvalidInput) -> Response:
        return problem(HTTPStatus.BAD_REQUEST, str(error), kind="malformed")

    @app.exception_handler(RequestValidationError)
    def wrong(_: Request, error: RequestValidationError) -> Response:
        return answer(refused_by(error, skip=1))

    @app.exception_handler(HTTPException)
    def http(_: Request, error: HTTPException) -> Response:
        return answer(error)

    @app.exception_handler(DBAPIError)
    @app.exception_handler(SqlTimeoutError)
    def away(request: Request, error: DBAPIError | SqlTimeoutError) -> Response:
        # Whoever asked comes again: gateways repeat what they were not told we have.
        if database.is_disconnect(error):
            # Away, busy, read-only, or its disk is full: who reads the log is to know which.
            cause = getattr(error, "orig", None) or error
            log.warning("a request is refused, the database can't serve it: %s", describe(cause))
            return unavailable()
        return defect(request, error)

    @app.exception_handler(ClientDisconnect)
    def gone(_: Request, error: ClientDisconnect) -> Response:
        return problem(HTTPStatus.BAD_REQUEST, "the client hung up")  # heard by nobody

    @app.exception_handler(Exception)
    def defect(request: Request, error: Exception) -> Response:
        log.error("request %s: a defect", request.state.request_id, exc_info=error)
        return problem(
            HTTPStatus.INTERNAL_SERVER_ERROR, "a defect; the log has it", headers(request.scope)
        )
