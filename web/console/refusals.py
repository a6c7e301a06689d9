"""What was refused of messages, and messages that can't be read, with what was in them."""

from __future__ import annotations

import json

from fastapi import APIRouter
from fastapi.responses import Response

from pipeline.storage import refusals as storage
from web.console.guard import Viewer

router = APIRouter(prefix="/refusals")
A_PAGE = 100


@router.get("")
def refusals(caller: Viewer) -> Response:
    with caller.read() as tx:
        found = storage.latest(tx, A_PAGE)
    told = [{**row._mapping, "problems": json.loads(row.problems)} for row in found]
    return caller.page("refusals.html", refusals=told)
