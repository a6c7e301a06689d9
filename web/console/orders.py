"""Orders: search, filters that make an address, pages by cursor, and what can be done to all."""

from __future__ import annotations

from http import HTTPStatus
from urllib.parse import urlencode

from fastapi import APIRouter
from fastapi.responses import RedirectResponse, Response

from pipeline.chain import STEPS
from pipeline.decisions import answers_to
from pipeline.hold_reasons import HOLD_REASONS
from pipeline.order import Status
from pipeline.storage import catalogue, sources, views
from pipeline.storage.database import Tx
from pipeline.storage.selection import Selection, count_held
from pipeline.typed import is_digits
from web.console.filters import Asked
from web.console.guard import Before, Viewer

router = APIRouter()
A_PAGE = 50


@router.get("/orders")
def orders(caller: Viewer, asked: Asked, before: Before = None) -> Response:
    with caller.read() as tx:
        found = views.page(tx, asked.selection, before=before, most=A_PAGE + 1)
        names = [source.name for source in sources.all_sources(tx).values()]
        # Of those on hold an index tells how many; to count others would be to read them all.
        is_held = asked.status == Status.ON_HOLD and not asked.reads_documents
        count = count_held(tx, asked.selection) if is_held else None
    more = found[A_PAGE - 1]["id"] if len(found) > A_PAGE else None
    return caller.page(
        "orders.html", asked=asked, orders=found[:A_PAGE], more=more, count=count, before=before,
        sources=names, statuses=list(Status), steps=STEPS, reasons=_reasons(),
        decisions=answers_to(asked.reason),
    )  # fmt: skip


def _reasons() -> list[str]:
    return sorted({name.partition("/")[0] for name in HOLD_REASONS})


@router.get("/search")
def search(caller: Viewer, q: str = "") -> Response:
    """One box for all that names orders: what is meant is told by what it looks like, and by what
    there is; the page it leads to says how it was understood."""
    with caller.read() as tx:
        where = _meant(tx, q.strip())
    return RedirectResponse(where, HTTPStatus.SEE_OTHER)


def _meant(tx: Tx, q: str) -> str:
    if not q:
        return "/console/orders"
    if is_digits(q) and len(q) < 19 and views.page(tx, before=int(q) + 1, most=1)[:1]:
        found = views.page(tx, before=int(q) + 1, most=1)[0]
        if found["id"] == int(q):
            return f"/console/orders/{q}"
    for name, is_it in (
        ("email", "@" in q),
        ("reason", q in _reasons()),
        ("status", q in list(Status)),
        ("external_id", bool(views.page(tx, Selection(external_id=q), most=1))),
        ("sku", bool(catalogue.products_by_sku(tx, [q]))),
    ):
        if is_it:
            return f"/console/orders?{urlencode({name: q})}"
    return f"/console/orders?{urlencode({'external_id': q})}"
