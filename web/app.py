"""The ASGI app: routes on an application of the pipeline."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from fastapi import FastAPI

from pipeline.assembly import Application
from web.api import gateway_events
from web.console.app import serve_console
from web.console.jobs import Job
from web.problems import answer_with_problems


def create_app(application: Application, jobs: Mapping[str, Job] = MappingProxyType({})) -> FastAPI:
    """`application` stays the caller's to close; `jobs` are the scheduler's, for the console."""
    app = FastAPI(title="Ordermill", docs_url=None, redoc_url=None)
    answer_with_problems(app)
    app.include_router(gateway_events.routes(application.gateway_events))

    @app.get("/healthz")
    async def healthz() -> dict[str, str]:
        """This process is alive and answers; whether all is well is `ordermill check`.

        It waits for no thread: those may all be busy while the process is alive."""
        return {"status": "ok"}

    serve_console(app, application, jobs)
    return app
