"""Overview: what needs a person, each queue, who works. And the stream that keeps pages current."""

from __future__ import annotations

from fastapi import APIRouter
from fastapi.responses import Response, StreamingResponse

from web.console.guard import Viewer

router = APIRouter()


@router.get("/")
def overview(caller: Viewer) -> Response:
    return caller.page("overview.html", pulse=caller.console.pulse.beat())


@router.get("/held")
def held(caller: Viewer) -> Response:
    """On hold, by reason: what each means, and what to do."""
    return caller.page("held.html", pulse=caller.console.pulse.beat())


@router.get("/workers")
def workers(caller: Viewer) -> Response:
    return caller.page("workers.html", pulse=caller.console.pulse.beat())


@router.get("/live")
async def live(caller: Viewer) -> Response:
    """Server-sent events: the fragments of every page that change by themselves."""
    return StreamingResponse(caller.console.live.watch(), media_type="text/event-stream")
