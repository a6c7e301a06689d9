"""What payment gateways tell us. 204 says that it is kept, and need not be sent again."""

from __future__ import annotations

from http import HTTPStatus

from fastapi import APIRouter, Request
from starlette.concurrency import run_in_threadpool

from pipeline.assembly import Application
from web.bodies import read_body
from web.routing import problems

router = APIRouter(prefix="/v1/gateways")
LONGEST = 1_000_000


@router.post(
    "/{name}/events",
    operation_id="receiveGatewayEvent",
    tags=["gateways"],
    status_code=HTTPStatus.NO_CONTENT,
    responses=problems(400, 404, 408, 413, 422, 503),
)
async def receive(name: str, request: Request) -> None:
    """Take in an event as the gateway signed it."""
    app: Application = request.app.state.application
    payload = await read_body(request, LONGEST)
    await run_in_threadpool(app.gateway_events.receive, name, payload, dict(request.headers))
