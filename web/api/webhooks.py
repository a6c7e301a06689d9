"""Webhooks: a source's endpoints. What was delivered to them is in deliveries.py."""

from __future__ import annotations

import hashlib
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Query
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

EndpointId = Annotated[str, Path(pattern="^[0-9a-f]{12}$", description="An endpoint's id.")]
Overlap = Annotated[
    int,
    Query(ge=0, le=int(LONGEST_OVERLAP), description="Seconds that the old secret signs, too."),
]


def routes(application: Application) -> APIRouter:
    api = router_of("webhooks")
    database, webhooks = application.database, application.webhooks

    @api.get("/webhooks", operation_id="listWebhooks", response_model=list[models.Endpoint])
    def ls(caller: HookKeeper) -> list[models.Endpoint]:
        """List endpoints, the oldest first."""
        with database.snapshot() as tx:
            found = storage.all_endpoints(tx, caller.source_id)
        return [models.Endpoint(**endpoints.told(each)) for each in found]

    @api.post(
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
        response: Response,
    ) -> models.EndpointMade:
        """Make an endpoint of the source. Its secret is told this once."""
        _check_url(application, given.url)

        fresh: list[str] = []

        def make(tx: Tx) -> dict[str, Any]:
            made = webhooks.create(
                tx, source.id, given.url, f"source {source.name}"[:64], types=given.types,
                since=given.since,
            )  # fmt: skip
            fresh.append(webhooks.secret(made))
            return {"id": made.id}

        with database.transaction() as tx:
            # The secret is no part of what is kept.
            kept = idempotency.once(
                tx, f"source {source.id}", idempotency_key,
                _digest("webhook", given.model_dump_json()), lambda: make(tx),
            )  # fmt: skip
            made = storage.one(tx, kept["id"])
        response.headers["Location"] = f"/v1/webhooks/{made.id}"
        return with_secret(made, fresh)

    @api.get(
        "/webhooks/{endpoint_id}",
        operation_id="getWebhook",
        response_model=models.Endpoint,
        responses=problems(404),
    )
    def show(caller: HookKeeper, endpoint_id: EndpointId) -> models.Endpoint:
        """Show an endpoint, and how it fares."""
        with database.snapshot() as tx:
            return models.Endpoint(**endpoints.told(visible(tx, caller, endpoint_id)))

    @api.post(
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
            fresh.append(webhooks.secret(endpoints.rotate(tx, endpoint_id, float(overlap))))
            return {"id": endpoint_id}

        with database.transaction() as tx:
            visible(tx, caller, endpoint_id)
            idempotency.once(
                tx, caller.owner, idempotency_key,
                _digest("rotate", endpoint_id, str(overlap)), lambda: do(tx),
            )  # fmt: skip
            return with_secret(storage.one(tx, endpoint_id), fresh)

    @api.post(
        "/webhooks/{endpoint_id}/disable",
        operation_id="disableWebhook",
        response_model=models.Endpoint,
        responses=problems(404),
    )
    def disable(caller: HookKeeper, endpoint_id: EndpointId) -> models.Endpoint:
        """Deliver nothing more to an endpoint. Twice is once."""
        with database.transaction() as tx:
            visible(tx, caller, endpoint_id)
            return models.Endpoint(
                **endpoints.told(endpoints.disable(tx, endpoint_id, caller.actor))
            )

    @api.post(
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
        with database.transaction() as tx:
            visible(tx, caller, endpoint_id)
            enabled = endpoints.enable(tx, endpoint_id, from_now=from_now)
        return models.Endpoint(**endpoints.told(enabled))

    def with_secret(endpoint: Endpoint, fresh: list[str]) -> models.EndpointMade:
        """`fresh` has the secret if this request has made it."""
        return models.EndpointMade(**endpoints.told(endpoint), secret=fresh[0] if fresh else None)

    return api


def visible(tx: Tx, caller: Caller, endpoint_id: str) -> Endpoint:
    """Another source's endpoint is not there."""
    found = storage.one(tx, endpoint_id)
    if caller.source_id not in (None, found.source_id):
        raise UnknownEndpoint(endpoint_id)
    return found


def _check_url(application: Application, url: str) -> None:
    try:
        valid_url(url, application.webhooks.allowed)
    except InvalidInput as error:
        field, _, why = str(error).partition(": ")
        raise invalid([Problem(field, fit_to_show(repr(url)), why)]) from None


def _digest(*what: str) -> str:
    return hashlib.sha256(" ".join(what).encode()).hexdigest()
