"""What is done to endpoints, by their sources and by operators."""

from __future__ import annotations

import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import httpx

from pipeline.errors import EndpointDisabled, InvalidInput
from pipeline.redaction import redact
from pipeline.storage import webhook_deliveries, webhooks
from pipeline.storage.database import Tx
from pipeline.storage.webhooks import Endpoint
from pipeline.typed import text
from pipeline.webhooks.letters import event_id
from pipeline.webhooks.schedule import DAY
from pipeline.webhooks.signing import Signer
from pipeline.webhooks.targets import Allowed, valid_url
from pipeline.webhooks.types import TEST, valid_types

#: Endpoints of one source that are delivered to: each reads the feed for itself.
MOST_ENDPOINTS = 20
LONGEST_OVERLAP = 30 * DAY


@dataclass(frozen=True, slots=True)
class Webhooks:
    """What this shop's settings say of them."""

    signer: Signer
    allowed: Allowed

    def create(
        self,
        tx: Tx,
        source_id: int,
        url: str,
        by: str,
        *,
        types: Sequence[str] = (),
        since: datetime | None = None,
    ) -> Endpoint:
        """Make an endpoint of a source, to be told of events of these types that happen from now on,
        or have happened `since`. InvalidInput says what is wrong."""
        valid_url(url, self.allowed)
        wanted = valid_types(types)
        _require_room(tx, source_id)
        endpoint_id = secrets.token_hex(6)
        webhooks.add(tx, endpoint_id, source_id, url, wanted, _seed(endpoint_id), since, by)
        return webhooks.one(tx, endpoint_id)

    def secret(self, endpoint: Endpoint) -> str:
        """What its webhooks are signed with: to be shown to who made it, or changed it, and then."""
        return self.signer.secret(endpoint.seeds[0])


def rotate(tx: Tx, endpoint_id: str, overlap: float) -> Endpoint:
    """Give it a new secret; for `overlap` seconds each webhook is signed with the old one, too."""
    if not 0 <= overlap <= LONGEST_OVERLAP:
        raise InvalidInput("overlap: expected a time of at most 30 days")
    webhooks.lock(tx, endpoint_id)
    webhooks.rotate(tx, endpoint_id, _seed(endpoint_id), overlap)
    return webhooks.one(tx, endpoint_id)


def disable(tx: Tx, endpoint_id: str, by: str, why: str | None = None) -> Endpoint:
    """Deliver nothing more to it. Twice is once."""
    webhooks.lock(tx, endpoint_id)
    webhooks.disable(tx, endpoint_id, by, text("why", why, 255) or "by hand")
    return webhooks.one(tx, endpoint_id)


def enable(tx: Tx, endpoint_id: str, *, from_now: bool = False) -> Endpoint:
    """Deliver to it again, from where it was left, or (`from_now`) what is yet to happen. One that is
    enabled stays as it is. InvalidInput if the source has enough others by now."""
    endpoint = webhooks.lock(tx, endpoint_id)
    if endpoint.disabled_at is not None:
        _require_room(tx, endpoint.source_id)
        webhooks.enable(tx, endpoint_id, from_now=from_now)
        if from_now:
            webhook_deliveries.leave_out(tx, endpoint_id)
    return webhooks.one(tx, endpoint_id)


def test(tx: Tx, endpoint_id: str) -> int:
    """Send it something that is about no order; the delivery's id."""
    _wake(tx, endpoint_id)
    return webhook_deliveries.add_test(tx, endpoint_id, TEST)


def redeliver(tx: Tx, endpoint_id: str, delivery_ids: Sequence[int] | None) -> int:
    """Send these again, or (None) all that were given up; how many they are."""
    _wake(tx, endpoint_id)
    if delivery_ids is None:
        return webhook_deliveries.redeliver_failed(tx, endpoint_id)
    return webhook_deliveries.redeliver(tx, endpoint_id, delivery_ids)


def host(url: str) -> str:
    """What an endpoint is called where people read it who need not know its path."""
    return httpx.URL(url).host


def told(endpoint: Endpoint) -> dict[str, Any]:
    """An endpoint as programs are told of it. `state`: enabled, failing, or disabled."""
    state = "failing" if endpoint.failures else "enabled"
    return {
        "id": endpoint.id,
        "source": endpoint.source,
        "url": redact(endpoint.url),
        "types": endpoint.types,
        "state": state if endpoint.disabled_at is None else "disabled",
        "failing_since": endpoint.failing_since,
        "disabled_at": endpoint.disabled_at,
        "disabled_by": endpoint.disabled_by,
        "disabled_why": endpoint.disabled_why,
        "read_until": endpoint.position.at,
        "created_at": endpoint.created_at,
        "created_by": endpoint.created_by,
    }


def told_delivery(found: Mapping[str, Any]) -> dict[str, Any]:
    """A delivery as programs are told of it; `event` is the id that its webhook has."""
    return {**found, "event": event_id(found["order_id"], found["seq"], found["id"])}


def _require_room(tx: Tx, source_id: int) -> None:
    if webhooks.count(tx, source_id) >= MOST_ENDPOINTS:
        raise InvalidInput(
            f"the source has {MOST_ENDPOINTS} endpoints already, which is the most: disable one"
        )


def _wake(tx: Tx, endpoint_id: str) -> None:
    if webhooks.lock(tx, endpoint_id).disabled_at is not None:
        raise EndpointDisabled(endpoint_id)
    webhooks.wake(tx, endpoint_id)


def _seed(endpoint_id: str) -> str:
    return f"endpoint {endpoint_id} {secrets.token_hex(16)}"
