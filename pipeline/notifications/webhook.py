"""Webhooks: signed as Standard Webhooks says (standardwebhooks.com), posted, never redirected."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from functools import cache
from http import HTTPStatus

import httpx
from standardwebhooks import Webhook

from pipeline.errors import ConfigurationError
from pipeline.notifications.message import Delivered, Delivery, Failed, Notification

TIMEOUT_SECONDS = 5.0


@cache
def derive_secret(master: str, source: str) -> str:
    """The secret that we share with `source`: made of the one we keep, so none is stored."""
    digest = hmac.new(master.encode(), source.encode(), hashlib.sha256).digest()
    return f"whsec_{base64.b64encode(digest).decode()}"


class WebhookSender:
    """Posts over pooled connections. `secret` is the master that `derive_secret` starts from.

    `timeout` is in seconds, for connecting and for each exchange.
    """

    def __init__(self, secret: str, timeout: float = TIMEOUT_SECONDS) -> None:
        if not secret:
            raise ConfigurationError("webhooks can't be signed with an empty secret; set one")
        self._secret = secret
        self._timeout = timeout
        self._client = httpx.Client(
            timeout=timeout, follow_redirects=False, headers={"user-agent": "Ordermill"}
        )

    def send(self, notifications: Sequence[Notification]) -> Iterator[Delivery]:
        """As in `Sender`."""
        away: str | None = None
        for notification in notifications:
            if away is not None:
                yield Failed(f"not tried, as the endpoint is away: {away}")
                continue
            try:
                yield self._post(notification)
            except httpx.TransportError as error:
                away = f"no answer: {error or type(error).__name__}"
                yield Failed(away)
            except (httpx.InvalidURL, TypeError, ValueError) as error:
                yield Failed(f"the webhook can't be made: {error}")

    def _post(self, notification: Notification) -> Delivery:
        """Raises TransportError when there is no answer, the others for a bad URL or payload."""
        now = datetime.now(UTC)
        body = _body(notification, now)
        with self._client.stream(
            "POST",
            notification.target,
            content=body.encode(),
            headers=self._headers(notification, now, body),
        ) as response:
            self._drain(response)
            return _verdict(response)

    def _headers(self, notification: Notification, now: datetime, body: str) -> dict[str, str]:
        signer = Webhook(derive_secret(self._secret, notification.source))
        return {
            "content-type": "application/json",
            "webhook-id": notification.id,
            "webhook-timestamp": str(int(now.timestamp())),
            "webhook-signature": signer.sign(notification.id, now, body),
        }

    def _drain(self, response: httpx.Response) -> None:
        """Read the body, which a connection needs to be used again, but not for ever."""
        give_up = time.monotonic() + self._timeout
        with suppress(httpx.TransportError):
            for _ in response.iter_raw():
                if time.monotonic() > give_up:
                    return


def _body(notification: Notification, now: datetime) -> str:
    return json.dumps(
        {
            "type": notification.topic,
            "timestamp": now.isoformat(),
            "data": dict(notification.payload),
        },
        separators=(",", ":"),
    )


def _verdict(response: httpx.Response) -> Delivery:
    if response.is_success:
        return Delivered()
    answer = f"{response.url.host} answered {_words(response.status_code)}"
    if response.is_redirect:
        return Failed(f"{answer}; redirects are not followed, set the URL it leads to")
    return Failed(answer)


def _words(status: int) -> str:
    """404 → '404 Not Found', in our words: the endpoint's own phrase may be anything."""
    try:
        return f"{status} {HTTPStatus(status).phrase}"
    except ValueError:
        return str(status)
