"""What can come of a call, other than its answer.

OrdermillError
├── NoAnswer             nobody knows what became of it: a time-out, a broken connection
├── ApiError             it was answered, by a problem as in RFC 9457
│   ├── Unauthenticated  no valid key
│   ├── Forbidden        the key is not for this
│   ├── NotFound         there is no such thing, for this key
│   ├── Conflict         the same external_id with another content: `order_id` names the order
│   ├── NoGateway        the key's source names none to be paid at: an operator does, then send it again
│   ├── NotAllowedNow    the order's status forbids it
│   ├── VersionPassed    the order is not as you saw it any more
│   ├── Invalid          fields are wrong: `errors` has every one of them
│   ├── KeyReused        the idempotency_key was another request's
│   ├── RateLimited      too often, for longer than we were to try
│   └── ServerError      a defect of theirs, the log of which has it under `request_id`
│       └── Unavailable  the database, or all of it, is away for longer than we were to try
├── BatchInterrupted     some lines have no verdict: `unanswered`; its cause is one of the above
└── NotSettled           the time was over before the order was: `order` is how it is
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import Any

from pydantic import ValidationError

from ordermill_client.shapes import FieldError, Order, Problem


class OrdermillError(Exception):
    """Whatever this client raises."""


class NoAnswer(OrdermillError):
    """Nobody knows what became of the request: it may have been done, or never have arrived."""

    retry_after: float | None = None


class ApiError(OrdermillError):
    """A problem. `type` is to be compared, `kind` is what it ends with; `members` is all of it."""

    def __init__(self, status: int, headers: Mapping[str, str], members: Mapping[str, Any]) -> None:
        self.status = status
        self.members = members
        try:
            read = Problem.model_validate({"type": "about:blank", "title": "", "detail": "", **members,
                                           "status": status})  # fmt: skip
        except ValidationError:  # of something between us and them
            read = Problem(type="about:blank", title="", status=status, detail="")
        self.type = read.type
        self.title = read.title or _phrase(status)
        self.detail = read.detail
        self.errors: Sequence[FieldError] = read.errors or ()
        self.order_id = read.order_id
        self.retry_after = _seconds(headers.get("retry-after"))
        self.request_id = headers.get("x-request-id")
        super().__init__(self._sentence())

    @property
    def kind(self) -> str:
        return _kind(self.type)

    def _sentence(self) -> str:
        wrong = "; ".join(f"{e.field}: got {e.value}, expected {e.expected}" for e in self.errors)
        said = wrong or self.detail
        return f"{self.status} {self.title}" + (f": {said}" if said else "")


class Unauthenticated(ApiError): ...


class Forbidden(ApiError): ...


class NotFound(ApiError): ...


class Conflict(ApiError): ...


class NoGateway(ApiError): ...


class NotAllowedNow(ApiError): ...


class VersionPassed(ApiError): ...


class Invalid(ApiError): ...


class KeyReused(ApiError): ...


class RateLimited(ApiError): ...


class ServerError(ApiError): ...


class Unavailable(ServerError): ...


class BatchInterrupted(OrdermillError):
    """`unanswered`: the lines (by number from 1, with what was given) that were drawn and have no
    verdict; each may have been accepted or not. What comes after them was not drawn. Send them
    again, and go on: orders that are there already are `duplicate`."""

    def __init__(self, unanswered: Sequence[tuple[int, Any]]) -> None:
        self.unanswered = unanswered
        first, last = unanswered[0][0], unanswered[-1][0]
        super().__init__(f"{len(unanswered)} lines from {first} to {last} have no verdict")


class NotSettled(OrdermillError):
    """Still on its way when the time was over."""

    def __init__(self, order: Order) -> None:
        self.order = order
        super().__init__(f"order {order.id} is {order.status} at {order.stage}")


_BY_KIND: Mapping[str, type[ApiError]] = {
    "unauthenticated": Unauthenticated,
    "forbidden": Forbidden,
    "conflict": Conflict,
    "no_gateway": NoGateway,
    "not-allowed-now": NotAllowedNow,
    "version-passed": VersionPassed,
    "invalid": Invalid,
    "key-reused": KeyReused,
    "rate-limited": RateLimited,
    "unavailable": Unavailable,
}
#: Where the kind is no one's, as of what stands between us and the API.
_BY_STATUS: Mapping[int, type[ApiError]] = {
    401: Unauthenticated,
    403: Forbidden,
    404: NotFound,
    429: RateLimited,
    502: Unavailable,
    503: Unavailable,
    504: Unavailable,
}


def api_error(status: int, headers: Mapping[str, str], body: bytes) -> ApiError:
    """The error that such an answer is."""
    try:
        members = json.loads(body)
    except (ValueError, RecursionError):
        members = {}
    if not isinstance(members, dict):
        members = {}
    kind = _BY_KIND.get(_kind(str(members.get("type", ""))))
    found = kind or _BY_STATUS.get(status, ServerError if status >= 500 else ApiError)
    return found(status, headers, members)


def _kind(uri: str) -> str:
    return uri.rpartition("/")[2] if uri.startswith("tag:ordermill,") else ""


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Unknown status"


def _seconds(written: str | None) -> float | None:
    """A Retry-After: seconds, or a moment."""
    if written is None:
        return None
    if written.isascii() and written.isdecimal():
        return float(written[:9])
    try:
        at = parsedate_to_datetime(written)
    except (ValueError, OverflowError):
        return None
    if at.tzinfo is None:
        at = at.replace(tzinfo=UTC)
    return max(0.0, (at - datetime.now(UTC)).total_seconds())
