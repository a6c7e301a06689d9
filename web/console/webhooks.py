"""Webhooks: a source's endpoint, what was delivered to it, and again."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query
from fastapi.responses import Response

from pipeline.storage import webhook_deliveries, webhooks
from pipeline.storage.webhooks import Endpoint
from pipeline.webhooks import endpoints
from web.console.guard import Before, Caller, Number, Operator, Viewer

router = APIRouter(prefix="/webhooks")
SHOWN = 50

State = Annotated[Literal["pending", "delivered", "failed"] | None, Query()]
Action = Literal["enable", "disable", "redeliver"]

_SAYS: dict[str, list[str]] = {
    "enable": [
        "It is delivered to again, from where it was left: all that has happened meanwhile, and "
        "what was tried and not given up.",
    ],
    "disable": [
        "Nothing more is delivered to it. What happens meanwhile is delivered once it is enabled.",
    ],
    "redeliver": [
        "All deliveries that were given up are tried again, as often as if they were new. Who has "
        "got one before gets it again, under the same id.",
    ],
}
_DONE = {
    "enable": "It is enabled.",
    "disable": "It is disabled.",
    "redeliver": "What was given up is tried again.",
}


@router.get("/{endpoint_id}")
def one(caller: Viewer, endpoint_id: str, state: State = None, before: Before = None) -> Response:
    with caller.read() as tx:
        endpoint = webhooks.one(tx, endpoint_id)
        found = webhook_deliveries.page(tx, endpoint_id, state=state, before=before, most=SHOWN)
    shown = [endpoints.told_delivery(each) for each in found]
    return caller.page(
        "webhook.html", endpoint=told(endpoint), deliveries=shown, state=state,
        more=len(shown) == SHOWN,
    )  # fmt: skip


@router.get("/{endpoint_id}/deliveries/{delivery_id}")
def delivery(caller: Viewer, endpoint_id: str, delivery_id: Number) -> Response:
    with caller.read() as tx:
        endpoint = webhooks.one(tx, endpoint_id)
        found = webhook_deliveries.one(tx, endpoint_id, delivery_id)
    return caller.page(
        "delivery.html", endpoint=told(endpoint), delivery=endpoints.told_delivery(found)
    )


@router.get("/{endpoint_id}/deliveries/{delivery_id}/redeliver")
def ask_redeliver(caller: Operator, endpoint_id: str, delivery_id: Number) -> Response:
    back = f"/console/webhooks/{endpoint_id}/deliveries/{delivery_id}"
    says = [
        "It is tried again, as often as if it were new. Who has got it before gets it again, under "
        "the same id.",
    ]
    return _confirm(caller, f"Deliver {delivery_id} again", says, f"{back}/redeliver", back)


@router.post("/{endpoint_id}/deliveries/{delivery_id}/redeliver")
def redeliver(caller: Operator, endpoint_id: str, delivery_id: Number) -> Response:
    with caller.act("webhook.redeliver", endpoint_id, delivery=delivery_id) as act:
        webhook_deliveries.one(act.tx, endpoint_id, delivery_id)
        endpoints.redeliver(act.tx, endpoint_id, [delivery_id])
    return caller.done(
        f"/console/webhooks/{endpoint_id}/deliveries/{delivery_id}", "It is tried again."
    )


@router.get("/{endpoint_id}/{action}")
def ask(caller: Operator, endpoint_id: str, action: Action) -> Response:
    with caller.read() as tx:
        endpoint = webhooks.one(tx, endpoint_id)
    here = f"/console/webhooks/{endpoint_id}"
    title = f"{action.capitalize()} {endpoints.host(endpoint.url)} of {endpoint.source}"
    return _confirm(caller, title, _SAYS[action], f"{here}/{action}", here)


@router.post("/{endpoint_id}/{action}")
def do(caller: Operator, endpoint_id: str, action: Action) -> Response:
    with caller.act(f"webhook.{action}", endpoint_id) as act:
        match action:
            case "enable":
                endpoints.enable(act.tx, endpoint_id)
            case "disable":
                endpoints.disable(act.tx, endpoint_id, caller.actor)
            case "redeliver":
                act.detail["deliveries"] = endpoints.redeliver(act.tx, endpoint_id, None)
    return caller.done(f"/console/webhooks/{endpoint_id}", _DONE[action])


def told(endpoint: Endpoint) -> dict[str, Any]:
    """An endpoint as pages have it: by its host, as a path may hold a token."""
    return {**endpoints.told(endpoint), "host": endpoints.host(endpoint.url)}


def _confirm(caller: Caller, title: str, says: list[str], action: str, back: str) -> Response:
    return caller.page(
        "confirm.html", title=title, says=says, button=title.partition(" ")[0], action=action,
        back=back, fields={}, password=False, wrong="", danger=False,
    )  # fmt: skip
