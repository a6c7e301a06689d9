"""What the API sends and takes of webhooks: endpoints, deliveries, attempts."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from pydantic import AfterValidator, AwareDatetime, Field

from pipeline.webhooks.targets import MOST_URL
from pipeline.webhooks.types import ALL, TYPES
from web.api.models import In, in_utc
from web.api.shapes import Out


def _known(given: str) -> str:
    if given != ALL and given not in TYPES:
        raise ValueError("* or a type of events as docs/webhooks.md lists them")
    return given


EventType = Annotated[str, AfterValidator(_known), Field(json_schema_extra={"enum": [ALL, *TYPES]})]
DeliveryState = Literal["pending", "delivered", "failed"]


class EndpointIn(In):
    """`types` that it is told of: `*` is all, left out those that are usual. With `since` (RFC 3339)
    it is told of what has happened from then on, too."""

    url: Annotated[str, Field(min_length=1, max_length=MOST_URL)]
    types: list[EventType] = Field(default_factory=list, max_length=100)
    since: Annotated[AwareDatetime, AfterValidator(in_utc), Field(strict=False)] | None = None


class Endpoint(Out):
    """`failing_since`: it has done nothing but fail since then. `read_until`: what happened until
    then is among its deliveries, if it wants it."""

    id: str
    source: str
    url: str
    types: list[str]
    state: Literal["enabled", "failing", "disabled"]
    failing_since: datetime | None
    disabled_at: datetime | None
    disabled_by: str | None
    disabled_why: str | None
    read_until: datetime
    created_at: datetime
    created_by: str


class EndpointMade(Endpoint):
    """`secret` is what to verify its webhooks with. It is told once: the same request again has
    null there, and whoever has lost the first answer asks for a new secret (rotate)."""

    secret: str | None


class Delivery(Out):
    """`event` is the webhook's id, the same each time and to all endpoints. `status` and `error` are
    of the last attempt, `due_at` is when the next one is."""

    id: int
    event: str
    type: str
    order_id: int | None
    seq: int | None
    state: DeliveryState
    attempts: int
    status: int | None
    error: str | None
    due_at: datetime | None
    created_at: datetime
    ended_at: datetime | None


class Attempt(Out):
    """`ms`: how long it took. `answer` is the beginning of what was answered."""

    n: int
    at: datetime
    ms: int
    status: int | None
    error: str | None
    answer: str | None


class DeliveryLog(Delivery):
    """A delivery, and every attempt at it, the first one first."""

    log: list[Attempt]


class Redelivered(Out):
    """How many deliveries are attempted again."""

    deliveries: int
