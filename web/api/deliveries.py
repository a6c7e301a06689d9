"""Deliveries of webhooks: what was and is to be sent to an endpoint, and again on demand."""

from __future__ import annotations

from typing import Annotated

from fastapi import Path
from fastapi.responses import Response

from pipeline.storage import webhook_deliveries
from pipeline.storage.database import Tx
from pipeline.webhooks import endpoints
from web.api import webhook_models as models
from web.api.models import LARGEST, Most, Next
from web.api.shapes import Page
from web.api.webhooks import EndpointId, visible
from web.callers import HookKeeper
from web.cursors import cursor, position
from web.routing import answers, problems, router_of

router = router_of("webhooks")

DeliveryId = Annotated[int, Path(ge=1, le=LARGEST, description="A delivery's id.")]


@router.post(
    "/webhooks/{endpoint_id}/test",
    operation_id="testWebhook",
    status_code=202,
    response_model=models.Delivery,
    responses={
        **answers(202, "It will be sent", models.Delivery, Location="its log"),
        **problems(404, 409),
    },
)
def test(caller: HookKeeper, endpoint_id: EndpointId, response: Response) -> models.Delivery:
    """Send an endpoint a `webhook.test`, which is about no order; its log tells how it went."""
    with caller.write() as tx:
        visible(tx, caller, endpoint_id)
        delivery_id = endpoints.test(tx, endpoint_id)
        return _shown(tx, endpoint_id, delivery_id, response)


@router.get(
    "/webhooks/{endpoint_id}/deliveries",
    operation_id="listDeliveries",
    response_model=Page[models.Delivery],
    responses=problems(404),
)
def deliveries(
    caller: HookKeeper,
    endpoint_id: EndpointId,
    state: models.DeliveryState | None = None,
    limit: Most = 50,
    after: Next = None,
) -> Page[models.Delivery]:
    """List what was and is to be delivered to an endpoint, newest first; kept for a month."""
    before = position(after, int)[0] if after else None
    with caller.read() as tx:
        visible(tx, caller, endpoint_id)
        found = webhook_deliveries.page(tx, endpoint_id, state=state, before=before, most=limit)
    items = [models.Delivery(**endpoints.told_delivery(each)) for each in found]
    more = cursor(items[-1].id) if len(items) == limit else None
    return Page[models.Delivery](items=items, next=more)


@router.get(
    "/webhooks/{endpoint_id}/deliveries/{delivery_id}",
    operation_id="getDelivery",
    response_model=models.DeliveryLog,
    responses=problems(404),
)
def log(caller: HookKeeper, endpoint_id: EndpointId, delivery_id: DeliveryId) -> models.DeliveryLog:
    """Show a delivery, and every attempt at it."""
    with caller.read() as tx:
        visible(tx, caller, endpoint_id)
        found = webhook_deliveries.one(tx, endpoint_id, delivery_id)
    return models.DeliveryLog(**endpoints.told_delivery(found))


@router.post(
    "/webhooks/{endpoint_id}/deliveries/{delivery_id}/redeliver",
    operation_id="redeliver",
    status_code=202,
    response_model=models.Delivery,
    responses={
        **answers(202, "It will be sent", models.Delivery, Location="its log"),
        **problems(404, 409),
    },
)
def redeliver(
    caller: HookKeeper, endpoint_id: EndpointId, delivery_id: DeliveryId, response: Response
) -> models.Delivery:
    """Send it again, whatever became of it."""
    with caller.write() as tx:
        visible(tx, caller, endpoint_id)
        endpoints.redeliver(tx, endpoint_id, [delivery_id])
        return _shown(tx, endpoint_id, delivery_id, response)


@router.post(
    "/webhooks/{endpoint_id}/redeliver",
    operation_id="redeliverFailed",
    status_code=202,
    response_model=models.Redelivered,
    responses=problems(404, 409),
)
def redeliver_failed(caller: HookKeeper, endpoint_id: EndpointId) -> models.Redelivered:
    """Send everything again that was given up."""
    with caller.write() as tx:
        visible(tx, caller, endpoint_id)
        return models.Redelivered(deliveries=endpoints.redeliver(tx, endpoint_id, None))


def _shown(tx: Tx, endpoint_id: str, delivery_id: int, response: Response) -> models.Delivery:
    found = webhook_deliveries.one(tx, endpoint_id, delivery_id)
    response.headers["Location"] = f"/v1/webhooks/{endpoint_id}/deliveries/{delivery_id}"
    return models.Delivery(**endpoints.told_delivery(found))
