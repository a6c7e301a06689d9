"""Stock: what is there, who it is promised to, every movement; corrections and counts."""

from __future__ import annotations

from dataclasses import replace
from http import HTTPStatus
from typing import Any, Literal

from fastapi import APIRouter, HTTPException, Request
from fastapi.responses import Response

from pipeline import stocktaking
from pipeline.errors import InvalidInput
from pipeline.inventory import movement
from pipeline.payments.window import moment
from pipeline.stocktaking import Count
from pipeline.storage import catalogue, clock, stock_ledger, waiting
from pipeline.storage import stock as storage
from pipeline.storage.database import Tx
from web.console.guard import Caller, Changed, Operator, Viewer
from web.console.render import query

router = APIRouter(prefix="/stock")
A_PAGE, SHOWN = 100, 50


@router.get("")
def search(caller: Viewer, q: str = "", after: str = "") -> Response:
    with caller.read() as tx:
        found = storage.search(tx, q.strip(), after, A_PAGE + 1)
    skus = list(dict.fromkeys(level["sku"] for level in found))
    more = skus[A_PAGE - 1] if len(skus) > A_PAGE else None
    shown = [level for level in found if level["sku"] in skus[:A_PAGE]]
    return caller.page("stock.html", levels=shown, q=q.strip(), more=more)


@router.get("/sku")
def one(caller: Viewer, sku: str, kind: movement.Kind | Literal[""] = "") -> Response:
    return _page(caller, sku, kind)


def _page(caller: Caller, sku: str, kind: str = "", wrong: str = "") -> Response:
    with caller.read() as tx:
        product = catalogue.products_by_sku(tx, [sku]).get(sku)
        if product is None:
            raise HTTPException(HTTPStatus.NOT_FOUND, "There is no product of that SKU.")
        levels = storage.levels(tx, sku)
        held = stock_ledger.holders(tx, sku, SHOWN)
        waits = waiting.for_sku(tx, sku, SHOWN)
        moved = stock_ledger.ledger(tx, sku, SHOWN, [kind] if kind else [])[::-1]
    return caller.page(
        "sku.html", 422 if wrong else 200, sku=sku, levels=levels, held=held, moved=moved,
        waiting=waits, shown=SHOWN, wrong=wrong, kind=kind, kinds=movement.KINDS,
    )  # fmt: skip


def _adjust(tx: Tx, form: dict[str, str], actor: str) -> int:
    units = _number("units", form.get("units", ""))
    reason = form.get("reason", "")
    stocktaking.adjust(tx, (form.get("sku", ""), _location(form)), units, reason, actor)
    return units


def _count(tx: Tx, form: dict[str, str], actor: str) -> int:
    """Of the time that the form says, or of now: once shown, of when it was shown."""
    given = form.get("at", "")
    at = moment(given) if given else clock.read(tx)
    level = (form.get("sku", ""), _location(form))
    units = _number("units", form.get("units", ""))
    counted = Count(level, units, None, form.get("reason") or None)
    return stocktaking.count(tx, replace(counted, at=at), actor)


_DO = {"adjust": _adjust, "count": _count}


@router.get("/adjust")
def ask_adjust(caller: Operator, request: Request) -> Response:
    return _ask(caller, "adjust", dict(request.query_params))


@router.get("/count")
def ask_count(caller: Operator, request: Request) -> Response:
    return _ask(caller, "count", dict(request.query_params))


def _ask(caller: Caller, kind: str, form: dict[str, str]) -> Response:
    sku, location = form.get("sku", ""), _location(form)
    with caller.read() as tx:
        before = _on_hand(storage.levels(tx, sku), location)
        form.setdefault("at", clock.read(tx).isoformat()) if kind == "count" else None
    try:
        change = caller.tried(lambda tx: _DO[kind](tx, form, caller.actor))
    except InvalidInput as error:
        return _page(caller, sku, wrong=str(error))
    says = [
        f"{sku} at {location}: {before:,} on hand now, {before + change:,} after ({change:+,}).",
        "It is written to the ledger with your name. Orders that wait for it have new units first.",
    ]
    return caller.page(
        "confirm.html", title=f"{kind.capitalize()} {sku}", says=says, button=kind.capitalize(),
        action=f"/console/stock/{kind}", back=_address(sku),
        fields={**form, "expected": before}, password=False, wrong="", danger=False,
    )  # fmt: skip


@router.post("/adjust")
def adjust(caller: Operator) -> Response:
    return _do(caller, "adjust")


@router.post("/count")
def count(caller: Operator) -> Response:
    return _do(caller, "count")


def _do(caller: Caller, kind: str) -> Response:
    form = dict(caller.form)
    sku, location = form.get("sku", ""), _location(form)
    told = {"location": location, "units": form.get("units"), "reason": form.get("reason")}
    with caller.act(f"stock.{kind}", sku, **told) as act:
        storage.open_levels(act.tx, [(sku, location)]) if _is_known(act.tx, sku) else None
        on_hand = _on_hand(storage.levels(act.tx, sku), location)
        if str(on_hand) != form.get("expected"):
            raise Changed(f"{sku} at {location}")
        change = act.detail["change"] = _DO[kind](act.tx, form, caller.actor)
    says = f"{sku} at {location}: {change:+,} written." if change else "No difference."
    return caller.done(_address(sku), says)


def _is_known(tx: Tx, sku: str) -> bool:
    return sku in catalogue.products_by_sku(tx, [sku])


def _on_hand(levels: list[dict[str, Any]], location: str) -> int:
    return sum(level["on_hand"] for level in levels if level["location"] == location)


def _location(form: dict[str, str]) -> str:
    return form.get("location", "").strip() or "main"


def _number(field: str, given: str) -> int:
    try:
        return int(given) if len(given) < 16 and given.isascii() else int("")
    except ValueError:
        raise InvalidInput(f"{field}: got {given[:32]!r}, expected a whole number") from None


def _address(sku: str) -> str:
    return f"/console/stock/sku{query({'sku': sku})}"
