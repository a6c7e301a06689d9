"""One exchange with an endpoint: a body posted, its answer read, all within one time limit.

Whatever it does, slow, endless, broken or lying, is an `Answer` in words, and costs no more than the
limits here.
"""

from __future__ import annotations

import asyncio
import ssl
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from http.cookiejar import CookieJar, DefaultCookiePolicy
from types import TracebackType
from typing import Self

import httpx

from pipeline.redaction import redact_start
from pipeline.typed import is_digits
from pipeline.webhooks.schedule import Answer
from pipeline.webhooks.targets import Address, Allowed, TargetRefused, choose, host_of

#: Seconds for the whole exchange: finding the address, connecting, sending, and the answer.
LIMIT = 15.0
#: Bytes of an answer that are read, and signs of it that are kept.
MOST_READ, MOST_KEPT = 65_536, 500
#: Addresses of one host that are tried.
MOST_ADDRESSES = 3

Resolve = Callable[[str, int], Awaitable[list[Address]]]


class Conversation:
    """Exchanges with one endpoint, over connections that are used again. Its name is resolved once:
    what it means by then is looked at, and called."""

    def __init__(
        self,
        url: str,
        resolve: Resolve,
        allowed: Allowed,
        tls: ssl.SSLContext,
        limit: float = LIMIT,
    ) -> None:
        self._url = httpx.URL(url)
        self._host = host_of(self._url)
        self._resolve = resolve
        self._allowed = allowed
        self._limit = limit
        self._addresses: asyncio.Task[list[Address]] | None = None
        self._client = httpx.AsyncClient(
            verify=tls,
            trust_env=False,  # a proxy would resolve the name anew
            follow_redirects=False,
            timeout=httpx.Timeout(None, connect=limit / MOST_ADDRESSES),
            cookies=CookieJar(DefaultCookiePolicy(allowed_domains=[])),
            headers={"user-agent": "Ordermill", "accept-encoding": "identity"},
        )

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        if self._addresses is not None:
            self._addresses.cancel()
        await self._client.aclose()

    async def post(self, body: bytes, headers: dict[str, str]) -> Answer:
        """What is answered to that body. Never raises for a failure."""
        began = time.monotonic()
        heard = _Heard()
        try:
            async with asyncio.timeout(self._limit):
                await self._exchange(body, headers, heard)
        except TimeoutError:
            heard.broke(f"no answer within {self._limit:g} s", "was not done in time")
        except Exception as error:  # whatever it makes our libraries raise, it is its own failure
            heard.broke(_words(error, self._host), "broke off")
        return heard.answer(round((time.monotonic() - began) * 1000))

    async def _exchange(self, body: bytes, headers: dict[str, str], heard: _Heard) -> None:
        addresses = await self._find()
        for address in addresses[:-1]:
            with suppress(httpx.ConnectError, httpx.ConnectTimeout):
                return await self._call(address, body, headers, heard)
        return await self._call(addresses[-1], body, headers, heard)

    async def _find(self) -> list[Address]:
        if self._addresses is None:
            self._addresses = asyncio.create_task(self._look_up())
            self._addresses.add_done_callback(lambda done: done.cancelled() or done.exception())
        # Shielded: of several that wait for it, one whose time is over doesn't end it for the others.
        return await asyncio.shield(self._addresses)

    async def _look_up(self) -> list[Address]:
        port = self._url.port or (443 if self._url.scheme == "https" else 80)
        found = await self._resolve(self._host, port)
        return choose(self._host, found, self._allowed, self._url.scheme)[:MOST_ADDRESSES]

    async def _call(
        self, address: Address, body: bytes, headers: dict[str, str], heard: _Heard
    ) -> None:
        async with self._client.stream(
            "POST",
            self._url.copy_with(host=str(address)),
            content=body,
            headers={
                **headers,
                "content-type": "application/json",
                "host": self._url.netloc.decode("ascii"),
            },
            # By the name, not the address: it is what the certificate is for.
            extensions={"sni_hostname": self._host.strip("[]")},
        ) as response:
            heard.status = response.status_code
            heard.retry_after = _retry_after(response.headers.get("retry-after"))
            async for chunk in response.aiter_raw():
                heard.body += chunk
                if len(heard.body) > MOST_READ:
                    heard.oddity = f"the answer was cut off after {MOST_READ:,} bytes"
                    return


class _Heard:
    """What has come so far: it counts, however the exchange ends."""

    def __init__(self) -> None:
        self.status: int | None = None
        self.retry_after: float | None = None
        self.body = bytearray()
        self.oddity: str | None = None

    def broke(self, why: str, how: str) -> None:
        """It ended so, before there was a status, or in the middle of the body."""
        self.oddity = why if self.status is None else f"the answer {how}"

    def answer(self, ms: int) -> Answer:
        told = [_status_words(self.status), self.oddity]
        error = "; ".join(filter(None, told)) or None
        return Answer(
            self.status, ms, None if error is None else redact_start(error, 255),
            _text(bytes(self.body)), self.retry_after,
        )  # fmt: skip


def _status_words(status: int | None) -> str | None:
    """What is wrong with a status; in our words, as the endpoint's own phrase may be anything."""
    if status is None or 200 <= status < 300:
        return None
    try:
        said = f"answered {status} {HTTPStatus(status).phrase}"
    except ValueError:
        said = f"answered {status}"
    if 300 <= status < 400:
        return f"{said}; redirects are not followed, make an endpoint of where it leads"
    return said


def _words(error: Exception, host: str) -> str:
    if isinstance(error, TargetRefused):
        return f"the target is refused: {error}"
    if isinstance(error, httpx.ConnectTimeout):
        return f"no connection to {host} in time"
    if isinstance(error, httpx.HTTPError):
        if (bad := _certificate(error)) is not None:
            return f"the certificate of {host} is not trusted: {bad.verify_message}"
        return f"no answer: {error or type(error).__name__}"
    if isinstance(error, OSError):
        return f"{host} has no address: {error.strerror or error}"
    return f"the exchange failed: {type(error).__name__}: {error}"


def _certificate(error: BaseException) -> ssl.SSLCertVerificationError | None:
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return cause
        cause = cause.__cause__ or cause.__context__
    return None


def _text(body: bytes) -> str | None:
    """The beginning of an answer, fit to be kept and shown."""
    if not body:
        return None
    shown = "".join(
        sign if sign.isprintable() or sign in "\n\t" else "\N{REPLACEMENT CHARACTER}"
        for sign in body[: 4 * MOST_KEPT].decode("utf-8", "replace")
    )
    return redact_start(shown, MOST_KEPT)


def _retry_after(given: str | None) -> float | None:
    """Seconds, from a number of them or a date; None for anything else."""
    if given is None:
        return None
    if is_digits(given.strip()):
        return float(given.strip()[:9])
    try:
        moment = parsedate_to_datetime(given)
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=UTC)
    return max(0.0, (moment - datetime.now(UTC)).total_seconds())
