"""Webhooks: a source's endpoints. What was delivered to them is in deliveries.py."""

from __future__ import annotations

import hashlib
from typing import Annotated, Any

from fastapi import Depends, Path, Query, Request
from fastapi.responses import Response

from pipeline.assembly import Application
from pipeline.errors import InvalidInput, UnknownEndpoint
from pipeline.problems import Problem, fit_to_show
from pipeline.storage import idempotency
from pipeline.storage import webhooks as storage
from pipeline.storage.database import Tx
from pipeline.storage.webhooks import Endpoint
from pipeline.webhooks import endpoints
from pipeline.webhooks.endpoints import LONGEST_OVERLAP
from pipeline.webhooks.targets import valid_url
from web.api import webhook_models as models
from web.api.examples import WEBHOOK
from web.api.models import IdempotencyKey
from web.bodies import reads
from web.callers import Caller, Hooker, HookKeeper
from web.problems import invalid
from web.routing import WITH_BODY, answers, problems, router_of, takes

router = router_of("webhooks")

EndpointId = Annotated[str, Path(pattern="^[0-9a-f]{12}$", description="An endpoint's id.")]
Overlap = Annotated[
    int,
    Query(ge=0, le=int(LONGEST_OVERLAP), description="Seconds that the old secret signs, too."),
]


@router.get("/webhooks", operation_id="listWebhooks", response_model=list[models.Endpoint])
def ls(caller: HookKeeper) -> list[models.Endpoint]:
    """List endpoints, the oldest first."""
    with caller.read() as tx:
        found = storage.all_endpoints(tx, caller.source_id)
    return [models.Endpoint(**endpoints.told(each)) for each in found]


@router.post(
    "/webhooks",
    operation_id="createWebhook",
    status_code=201,
    response_model=models.EndpointMade,
    responses={
        **answers(201, "It is made", models.EndpointMade, Location="the endpoint"),
        **WITH_BODY,
    },
    openapi_extra=takes(models.EndpointIn, WEBHOOK),
)
def create(
    source: Hooker,
    idempotency_key: IdempotencyKey,
    given: Annotated[models.EndpointIn, Depends(reads(models.EndpointIn))],
    request: Request,
    response: Response,
) -> models.EndpointMade:
    """Make an endpoint of the source. Its secret is told this once."""
    app: Application = request.app.state.application
    _check_url(app, given.url)
    fresh: list[str] = []

    def make(tx: Tx) -> dict[str, Any]:
        made = app.webhooks.create(
            tx, source.id, given.url, f"source {source.name}"[:64], types=given.types,
            since=given.since,
        )  # fmt: skip
        fresh.append(app.webhooks.secret(made))
        return {"id": made.id}

    with app.database.transaction() as tx:
        # The secret is no part of what is kept.
        kept = idempotency.once(
            tx, f"source {source.id}", idempotency_key,
            _digest("webhook", given.model_dump_json()), lambda: make(tx),
        )  # fmt: skip
        made = storage.one(tx, kept["id"])
    response.headers["Location"] = f"/v1/webhooks/{made.id}"
    return _with_secret(made, fresh)


@router.get(
    "/webhooks/{endpoint_id}",
    operation_id="getWebhook",
    response_model=models.Endpoint,
    responses=problems(404),
)
def show(caller: HookKeeper, endpoint_id: EndpointId) -> models.Endpoint:
    """Show an endpoint, and how it fares."""
    with caller.read() as tx:
        return models.Endpoint(**endpoints.told(visible(tx, caller, endpoint_id)))


@router.post(
    "/webhooks/{endpoint_id}/rotate",
    operation_id="rotateWebhookSecret",
    response_model=models.EndpointMade,
    responses=problems(404),
)
def rotate(
    caller: HookKeeper,
    endpoint_id: EndpointId,
    idempotency_key: IdempotencyKey,
    overlap: Overlap = 86_400,
) -> models.EndpointMade:
    """Give an endpoint a new secret, told this once. Until the overlap is over each webhook has a
    signature by either."""
    fresh: list[str] = []

    def do(tx: Tx) -> dict[str, Any]:
        rotated = endpoints.rotate(tx, endpoint_id, float(overlap))
        fresh.append(caller.app.webhooks.secret(rotated))
        return {"id": endpoint_id}

    with caller.write() as tx:
        visible(tx, caller, endpoint_id)
        idempotency.once(
            tx, caller.owner, idempotency_key,
            _digest("rotate", endpoint_id, str(overlap)), lambda: do(tx),
        )  # fmt: skip
        return _with_secret(storage.one(tx, endpoint_id), fresh)


@router.post(
    "/webhooks/{endpoint_id}/disable",
    operation_id="disableWebhook",
    response_model=models.Endpoint,
    responses=problems(404),
)
def disable(caller: HookKeeper, endpoint_id: EndpointId) -> models.Endpoint:
    """Deliver nothing more to an endpoint. Twice is once."""
    with caller.write() as tx:
        visible(tx, caller, endpoint_id)
        return models.Endpoint(**endpoints.told(endpoints.disable(tx, endpoint_id, caller.actor)))


@router.post(
    "/webhooks/{endpoint_id}/enable",
    operation_id="enableWebhook",
    response_model=models.Endpoint,
    responses=problems(404),
)
def enable(
    caller: HookKeeper,
    endpoint_id: EndpointId,
    from_now: Annotated[bool, Query(description="Leave out what was missed.")] = False,
) -> models.Endpoint:
    """Deliver to an endpoint again, from where it was left. Twice is once."""
    with caller.write() as tx:
        visible(tx, caller, endpoint_id)
        enabled = endpoints.enable(tx, endpoint_id, from_now=from_now)
    return models.Endpoint(**endpoints.told(enabled))


def _with_secret(endpoint: Endpoint, fresh: list[str]) -> models.EndpointMade:
    """`fresh` has the secret if this request has made it."""
    return models.EndpointMade(**endpoints.told(endpoint), secret=fresh[0] if fresh else None)


def visible(tx: Tx, caller: Caller, endpoint_id: str) -> Endpoint:
    """Another source's endpoint is not there."""
    found = storage.one(tx, endpoint_id)
    if caller.source_id not in (None, found.source_id):
        raise UnknownEndpoint(endpoint_id)
    return found


def _check_url(app: Application, url: str) -> None:
    try:
        valid_url(url, app.webhooks.allowed)
    except InvalidInput as error:
        field, _, why = str(error).partition(": ")
        raise invalid([Problem(field, fit_to_show(repr(url)), why)]) from None


def _digest(*what: str) -> str:
    return hashlib.sha256(" ".join(what).encode()).hexdigest()
