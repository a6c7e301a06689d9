"""Requeue, cancel or decide about all orders on hold that match: how many, which, and then all of
them.

What is moved is what was shown: orders that are held after the page was made are not among them.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Mapping
from dataclasses import replace

from fastapi import APIRouter
from fastapi.responses import Response

from pipeline.bulk import Errand, answered
from pipeline.decisions import Decision, answers_to
from pipeline.errors import InvalidInput
from pipeline.storage import operators_log
from pipeline.storage.selection import find
from pipeline.storage.sources import all_sources
from web.console import deciding
from web.console.filters import Asked, from_form, moment
from web.console.guard import Caller, Operator
from web.console.signing import confirm, is_confirmed

router = APIRouter()
log = logging.getLogger(__name__)

#: Seconds that the answer waits for the end; what takes longer goes on behind the page of its entry.
PATIENCE = 5.0

WILL = {
    "requeue": "They go back to work where they were held, and hold rules no longer apply to those "
    "that a hold rule held. This can be undone only by cancelling them.",
    "cancel": "They are cancelled: what was paid is given back, and units that were reserved are "
    "released. This can't be undone.",
    "decide": "With a decision they go back to work. The orders themselves stay as they were sent.",
}
EMPTY: Mapping[str, str] = {}


@router.get("/bulk/requeue")
def ask_requeue(caller: Operator, asked: Asked, rate: str = "") -> Response:
    return _ask(caller, "requeue", asked, rate)


@router.get("/bulk/cancel")
def ask_cancel(caller: Operator, asked: Asked, rate: str = "") -> Response:
    return _ask(caller, "cancel", asked, rate)


@router.get("/bulk/decide")
def ask_decide(caller: Operator, asked: Asked, rate: str = "") -> Response:
    return _ask(caller, "decide", asked, rate)


def _ask(
    caller: Caller,
    act: str,
    asked: Asked,
    rate: str,
    form: Mapping[str, str] = EMPTY,
    wrong: str = "",
) -> Response:
    if not wrong:
        _rate(rate)
    kinds = answers_to(asked.reason) if act == "decide" else []
    with caller.read() as tx:
        found = find(tx, asked.selection)
        zones = deciding.zones_of(tx, all_sources(tx).values()) if kinds else []
    return caller.page(
        "bulk.html", 422 if wrong else 200, act=act, asked=asked, found=found, rate=rate,
        will=WILL[act], kinds=kinds, zones=zones, fields=deciding.ADDRESS, form=form, wrong=wrong,
        password=act == "cancel" and not is_confirmed(caller),
    )  # fmt: skip


@router.post("/bulk/requeue")
def requeue(caller: Operator) -> Response:
    return _do(caller, "requeue")


@router.post("/bulk/cancel")
def cancel(caller: Operator) -> Response:
    # Some of them may be paid: money goes back as it does by a refund.
    if wrong := confirm(caller):
        form = {k: v for k, v in caller.form.items() if k != "password"}
        return _ask(caller, "cancel", from_form(form), form.get("rate", ""), wrong=wrong)
    return _do(caller, "cancel")


@router.post("/bulk/decide")
def decide(caller: Operator) -> Response:
    try:
        decision = deciding.decision_of(caller.form, {})
        return _do(caller, "decide", decision)
    except InvalidInput as error:
        asked, rate = from_form(caller.form), caller.form.get("rate", "")
        return _ask(caller, "decide", asked, rate, caller.form, str(error))


def _do(caller: Caller, act: str, decision: Decision | None = None) -> Response:
    asked, rate = from_form(caller.form), _rate(caller.form.get("rate", ""))
    until = moment(caller.form.get("until", ""))
    detail = {**asked.given, **({"rate": rate} if rate else {})}
    selection = answered(asked.selection, decision) if decision else asked.selection
    with caller.app.database.transaction() as tx:
        found = find(tx, replace(selection, settled_by=until))
        errand = Errand.begun(tx, act, found, caller.name, detail, decision)
    # Not a daemon: who stops the process in good order lets it come to its end.
    doing = threading.Thread(target=_run, args=(caller, errand, rate), name=f"{act}.all")
    doing.start()
    doing.join(PATIENCE)
    with caller.read() as tx:
        row = operators_log.one(tx, errand.entry)
    caller.console.pulse.forget()
    if row is None or row["outcome"] == "under_way":
        return caller.done(
            f"/console/log/{errand.entry}", "It is under way; this page tells how far."
        )
    told = row["detail"]
    says = f"{told.get('moved', 0):,} orders: {act} done."
    if told.get("skipped"):
        says += f" {told['skipped']:,} had been changed by somebody else, and were left alone."
    return caller.done("/console/held", says)


def _run(caller: Caller, errand: Errand, rate: float | None) -> None:
    try:
        errand.run(caller.app.database, caller.actor, caller.app.engine.announce, rate=rate)
    except Exception:  # what was committed stays; the same again does the rest
        log.exception("%s of all that match broke off", errand.act)


def _rate(given: str) -> float | None:
    if not given:
        return None
    try:
        rate = float(given)
    except ValueError:
        rate = 0.0
    if not 0 < rate <= 1_000_000:
        raise InvalidInput(f"rate: got {given[:32]!r}, expected more than 0 orders a second")
    return rate
