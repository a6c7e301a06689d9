"""The ASGI app: routes on an application of the pipeline."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from types import MappingProxyType
from typing import Any

from anyio.to_thread import current_default_thread_limiter
from fastapi import APIRouter, FastAPI, Request
from fastapi.responses import JSONResponse, Response
from starlette.concurrency import run_in_threadpool

from pipeline.assembly import Application
from pipeline.errors import CodeOutdated, SchemaOutdated
from pipeline.telemetry.metrics import Exposition
from web import metrics, problems
from web.api import (
    batch,
    catalogue,
    deliveries,
    events,
    fulfilments,
    gateway_events,
    operating,
    orders,
    quotes,
    shop_models,
    stock,
    webhooks,
)
from web.callers import Keys
from web.console.app import serve_console
from web.description import describe
from web.envelope import Envelope, headers_of
from web.garbage import collected_when_idle
from web.guesses import Guesses
from web.jobs import Jobs
from web.routing import problems as answered

#: In the order of their paths in the API's description.
RESOURCES = (
    batch, orders, fulfilments, events, quotes, catalogue, stock, webhooks, deliveries, operating,
    gateway_events, metrics,
)  # fmt: skip
process = APIRouter()

#: Requests that wait for the database at once; so many connections it has for them. Orders that are
#: placed one by one wait without a thread.
THREADS = 16

#: Envelope traces: FastAPI's own way tells query strings and errors' texts, which name people.
_NOT_BY_FASTAPI: Any = {
    "tracing": False, "metrics": False, "logs": False, "auto_configure": False,
}  # fmt: skip


def create_app(application: Application, jobs: Jobs = MappingProxyType({})) -> FastAPI:
    """`application` stays the caller's to close; `jobs` are those that may be run by name."""
    app = FastAPI(
        title="Ordermill", openapi_url=None, docs_url=None, redoc_url=None,
        redirect_slashes=False, lifespan=_life, telemetry=_NOT_BY_FASTAPI,
    )  # fmt: skip
    app.state.application, app.state.jobs = application, jobs
    app.state.keys = Keys(application.database)
    app.state.guesses = Guesses(application.database)
    app.state.batches = Counter[int]()  # that are being sent, by source's id
    app.state.long_quotes = quotes.InTurn()
    shop = metrics.Shop(application.database, jobs, application.gateways)
    app.state.exposition = Exposition(shop)
    app.openapi = lambda: describe(app)  # type: ignore[method-assign]
    app.add_middleware(Envelope)
    problems.answer_with_problems(app, application.database, headers_of)
    for each in RESOURCES:
        app.include_router(each.router)
    app.include_router(process)
    serve_console(app, application, jobs)
    return app


@asynccontextmanager
async def _life(_: FastAPI) -> AsyncGenerator[None, None]:
    current_default_thread_limiter().total_tokens = THREADS
    async with collected_when_idle():
        yield


@process.get("/openapi.json", include_in_schema=False)
def openapi(request: Request) -> JSONResponse:
    """In a thread, for it is made with the first call: half a second."""
    return JSONResponse(request.app.openapi())


@process.get("/healthz", operation_id="isAlive", tags=["process"])
async def healthz() -> dict[str, str]:
    """This process is alive and answers; whether all is well is `ordermill check`.

    It waits for no thread: those may all be busy while the process is alive."""
    return {"status": "ok"}


@process.get(
    "/readyz",
    operation_id="isReady",
    tags=["process"],
    response_model=shop_models.Ready,
    responses=answered(503),
)
async def readyz(request: Request) -> Response | shop_models.Ready:
    """Whether it can serve: the database is there, in a schema that serves this version."""
    app: Application = request.app.state.application
    try:
        await run_in_threadpool(app.database.require_schema)
    except (SchemaOutdated, CodeOutdated) as error:
        return problems.problem(
            503, str(error), {"Retry-After": str(problems.AWAY_SECONDS)}, kind="unavailable"
        )
    return shop_models.Ready(status="ready")
