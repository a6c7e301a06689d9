"""The console's ASGI app: its pages, its files, and what it says when something goes wrong."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from urllib.parse import quote

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import RedirectResponse, Response
from fastapi.staticfiles import StaticFiles
from sqlalchemy.exc import DBAPIError
from starlette.exceptions import HTTPException

from pipeline.assembly import Application
from pipeline.errors import (
    EndpointDisabled,
    InvalidInput,
    NotAllowedNow,
    UnknownDelivery,
    UnknownEndpoint,
    UnknownOrder,
    UnknownSource,
)
from web.console import (
    audit,
    bulk,
    deciding,
    fulfilment,
    jobs,
    log,
    operations,
    order,
    orders,
    overview,
    queues,
    refusals,
    signing,
    sources,
    stock,
    webhooks,
)
from web.console.guard import Changed, Console, SignInFirst
from web.console.headers import SecurityHeaders
from web.console.render import STATIC, problem
from web.jobs import Job

PAGES = (
    overview, bulk, orders, order, operations, deciding, fulfilment, queues, refusals, jobs, stock, sources, webhooks,
    audit, log, signing,
)  # fmt: skip


def serve_console(app: FastAPI, application: Application, known_jobs: Mapping[str, Job]) -> None:
    """Under /console. `known_jobs` by name; the scheduler's, handed in as the web knows no
    scheduler. `app.state.live` is to be stopped before the process is: streams have no end."""
    console = _console(application, known_jobs)
    app.state.live = console.state.console.live
    app.mount("/console", console)

    @app.get("/console", include_in_schema=False)
    async def with_slash() -> Response:
        return RedirectResponse("/console/", HTTPStatus.TEMPORARY_REDIRECT)


def _console(application: Application, known_jobs: Mapping[str, Job]) -> FastAPI:
    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    app.state.console = Console(application, known_jobs)
    for each in PAGES:
        app.include_router(each.router)
    app.mount("/static", StaticFiles(directory=STATIC), name="static")
    app.add_middleware(SecurityHeaders)
    _answer(app)
    return app


def _answer(app: FastAPI) -> None:
    @app.exception_handler(SignInFirst)
    def sign_in_first(_: Request, error: SignInFirst) -> Response:
        where = f"?next={quote(error.then)}" if error.then else ""
        return RedirectResponse(f"/console/sign-in{where}", HTTPStatus.SEE_OTHER)

    @app.exception_handler(InvalidInput)
    def invalid(_: Request, error: InvalidInput) -> Response:
        status = HTTPStatus.UNPROCESSABLE_ENTITY
        if isinstance(error, UnknownOrder | UnknownSource | UnknownEndpoint | UnknownDelivery):
            status = HTTPStatus.NOT_FOUND
        elif isinstance(error, NotAllowedNow | EndpointDisabled | Changed):
            status = HTTPStatus.CONFLICT
        return problem(status, str(error))

    @app.exception_handler(RequestValidationError)
    def malformed(_: Request, error: RequestValidationError) -> Response:
        wrong = "; ".join(f"{e['loc'][-1]}: {e['msg']}" for e in error.errors())
        return problem(HTTPStatus.UNPROCESSABLE_ENTITY, wrong)

    @app.exception_handler(HTTPException)
    def http(_: Request, error: HTTPException) -> Response:
        return problem(error.status_code, error.detail, dict(error.headers or {}))

    @app.exception_handler(DBAPIError)
    def away(_: Request, error: DBAPIError) -> Response:
        return problem(
            HTTPStatus.SERVICE_UNAVAILABLE,
            "The database can't be used just now. What you asked for was not done; try again.",
        )

    @app.exception_handler(Exception)
    def defect(_: Request, error: Exception) -> Response:
        return problem(HTTPStatus.INTERNAL_SERVER_ERROR, "A defect of ours; the log has it.")
