"""What an operation asks of whoever drives it, and how it is tried again.

An operation is a generator that yields steps and is sent what came of each. So it is written once,
and knows nothing of sockets, threads or event loops: `Client` and `AsyncClient` drive it.
"""

from __future__ import annotations

import math
import random
import time
from collections.abc import AsyncIterator, Generator, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar

import httpx

from ordermill_client.errors import ApiError, NoAnswer, api_error

R = TypeVar("R")
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Request:
    """`repeatable`: done twice it is done once, so it is sent again when nobody knows whether it
    was done."""

    method: str
    path: str
    params: Mapping[str, str] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes | None = None
    repeatable: bool = True


@dataclass(frozen=True, slots=True)
class Answer:
    """`status` 0: there is none. `cut`: what ended it before its end; `body` is what came until
    then. Names of headers are in lower case."""

    status: int = 0
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    cut: httpx.RequestError | None = None


@dataclass(frozen=True, slots=True)
class Send:
    """Comes back as an Answer, in `patience` seconds at the most."""

    request: Request
    patience: float


@dataclass(frozen=True, slots=True)
class Wait:
    seconds: float


@dataclass(frozen=True, slots=True)
class Draw:
    """Comes back as the next of what the caller gave, or END."""

    source: Iterator[Any] | AsyncIterator[Any]


@dataclass(frozen=True, slots=True)
class Tell(Generic[T]):
    """One more of what the caller iterates over."""

    item: T


END: Any = object()

Step = Send | Wait | Draw
#: An operation that returns.
Steps = Generator[Step, Any, R]
#: An operation that is iterated over.
Telling = Generator[Step | Tell[T], Any, None]


@dataclass(frozen=True, slots=True)
class Retries:
    """After the first try, more are made while `within` seconds are not over. Between them are pauses that double from `first` up
    to `longest`, each shortened at random by up to half so that many clients don't come as one; a
    Retry-After is waited for in full."""

    within: float = 30.0
    first: float = 0.2
    longest: float = 10.0


#: Answers that say: not now. One of 500 is a defect, which may yet have come of bad luck.
_AGAIN = frozenset({408, 425, 429, 500, 502, 503, 504})
#: What was to be sent never was.
_NOT_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)


class Patience:
    """What is left of it, for one call."""

    def __init__(self, retries: Retries) -> None:
        self._retries = retries
        self._pause = retries.first
        self._end = time.monotonic() + retries.within
        self._tried = False

    def for_this_try(self) -> float:
        """Seconds. The first try is not cut short: who wants no others still wants that one."""
        first, self._tried = not self._tried, True
        return math.inf if first else self._left()

    def _left(self) -> float:
        return max(0.0, self._end - time.monotonic())

    def wait(self, error: ApiError | NoAnswer) -> Wait:
        """The pause before the next try; `error`, raised, if there is no time for one."""
        pause = self._pause * random.uniform(0.5, 1.0) + (error.retry_after or 0.0)
        self._pause = min(self._pause * 2, self._retries.longest)
        if pause >= self._left():
            raise error
        return Wait(pause)


def send(request: Request, retries: Retries) -> Steps[Answer]:
    """The request's answer, a success (or 304); else what it failed with in the end."""
    patience = Patience(retries)
    while True:
        answer: Answer = yield Send(request, patience.for_this_try())
        error = failure(request, answer)
        if error is None:
            return answer
        if not may_repeat(request, answer):
            raise error
        yield patience.wait(error)


def failure(request: Request, answer: Answer) -> ApiError | NoAnswer | None:
    """What went wrong, if anything did."""
    if answer.cut is not None:
        error = NoAnswer(f"{request.method} {request.path}: {_told(answer.cut)}")
        error.__cause__ = answer.cut
        return error
    if 200 <= answer.status < 300 or answer.status == 304:
        return None
    return api_error(answer.status, answer.headers, answer.body)


def may_repeat(request: Request, answer: Answer) -> bool:
    if answer.cut is not None:
        return request.repeatable or isinstance(answer.cut, _NOT_SENT)
    # What is refused for its rate was looked at no further.
    return answer.status == 429 or (request.repeatable and answer.status in _AGAIN)


def _told(error: httpx.RequestError) -> str:
    return f"{type(error).__name__} {error}".strip()
