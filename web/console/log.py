"""The operators' log: who did what, when, to what, and what came of it."""

from __future__ import annotations

from http import HTTPStatus

from fastapi import APIRouter, HTTPException
from fastapi.responses import Response

from pipeline.storage import operators_log
from web.console.guard import Admin, Before, Number, Operator

router = APIRouter(prefix="/log")
A_PAGE = 50


@router.get("")
def log(
    caller: Admin,
    operator: str = "",
    action: str = "",
    target: str = "",
    before: Before = None,
) -> Response:
    asked = {"operator": operator.strip(), "action": action.strip(), "target": target.strip()}
    with caller.read() as tx:
        found = operators_log.page(tx, A_PAGE + 1, before=before, **asked)
    more = found[A_PAGE - 1]["id"] if len(found) > A_PAGE else None
    return caller.page("log.html", entries=found[:A_PAGE], more=more, asked=asked)


@router.get("/{entry}")
def one(caller: Operator, entry: Number) -> Response:
    """An entry: an operator's own, or an admin's to read. It tells how far its action is."""
    with caller.read() as tx:
        found = operators_log.one(tx, entry)
    if found is None or not (caller.may("admin") or found["operator"] == caller.name):
        raise HTTPException(HTTPStatus.NOT_FOUND, "There is no such entry of yours.")
    return caller.page("entry.html", entry=found)
