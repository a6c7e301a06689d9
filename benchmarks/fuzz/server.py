"""`python -m benchmarks.fuzz.server HOME PORT REPORT`: a `web` whose event loop is measured. When it
is stopped, it writes what it found to REPORT.

Messages of upstream systems have no door in HTTP. Here they have one, to the function that the
worker's actor calls.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from fastapi import Request
from fastapi.responses import JSONResponse, Response
from starlette.concurrency import run_in_threadpool
from starlette.routing import Route

from benchmarks.fuzz.meter import LoopMeter
from ordermill.processes import WebProcess, run_until_signalled
from pipeline.settings import Settings
from workers.actors import _accept

MESSAGES, BEGIN = "/_messages", "/_begin"


def main(home: str, port: int, report: Path) -> None:
    meter = LoopMeter()
    settings = Settings(
        _env_file=None, home=Path(home), database_url=f"sqlite:///{home}/ordermill.db"
    )
    process = WebProcess(settings, "127.0.0.1", port)
    _open(process, meter)
    with meter.installed():
        run_until_signalled(process)
    report.write_text(json.dumps({"callbacks": meter.callbacks, "dearest": meter.dearest()}))


def _open(process: WebProcess, meter: LoopMeter) -> None:
    async def take(request: Request) -> Response:
        return await run_in_threadpool(accept, await request.body())

    async def begin(_: Request) -> Response:
        meter.begin()
        return JSONResponse({"begun": True})

    def accept(body: bytes) -> Response:
        message: Any = json.loads(body)
        _accept(process.app, message["source"], message["orders"])
        return JSONResponse({"taken": True})

    ours = [Route(MESSAGES, take, methods=["POST"]), Route(BEGIN, begin, methods=["POST"])]
    process._asgi.router.routes[:0] = ours  # before the console, which takes what nobody else does


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), Path(sys.argv[3]))
