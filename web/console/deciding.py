"""What a person decides about an order on hold: a page with the decisions that answer why it is held,
and what each will do; then, if the order is still as it was shown, it is decided."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from fastapi import APIRouter
from fastapi.responses import Response

from pipeline import operations
from pipeline.decisions import KINDS, Decision, read_decision
from pipeline.errors import InvalidInput
from pipeline.hold_reasons import hold_of
from pipeline.intake.schema import Address
from pipeline.order import Status, corrected
from pipeline.source import Source
from pipeline.storage import rules, sources, views
from pipeline.storage.database import Tx
from web.console.asking import back, seen
from web.console.guard import Caller, Changed, Number, Operator

router = APIRouter(prefix="/orders/{order_id}")

ADDRESS = tuple(Address.model_fields)


@router.get("/decide")
def ask_decide(caller: Operator, order_id: Number) -> Response:
    return _page(caller, order_id)


@router.post("/decide")
def decide(caller: Operator, order_id: Number) -> Response:
    with caller.read() as tx:
        found = views.one(tx, order_id)
    try:
        decision = decision_of(
            caller.form, corrected(found["document"]["ship_to"], found["decided"])
        )
        with caller.act("decide", order_id, **decision.told) as act:
            seen(act.tx, caller, order_id)
            announcements = operations.decide(act.tx, [order_id], decision, caller.actor)
    except Changed:
        raise
    except InvalidInput as error:
        return _page(caller, order_id, str(error))
    caller.app.engine.announce(announcements)
    return back(caller, order_id, "It is decided, and back at work.")


def _page(caller: Caller, order_id: int, wrong: str = "") -> Response:
    with caller.read() as tx:
        found = views.one(tx, order_id)
        zones = zones_of(tx, [sources.by_name(tx, found["source"])])
    is_held = found["status"] == Status.ON_HOLD
    hold = hold_of(order_id, found["reason"], found["events"]) if is_held else None
    return caller.page(
        "decide.html",
        422 if wrong else 200,
        order=found,
        hold=hold,
        kinds=[KINDS[name] for name in hold["decisions"]] if hold else [],
        zones=zones,
        address=corrected(found["document"]["ship_to"], found["decided"]),
        fields=ADDRESS,
        form=caller.form,
        version=found["events"][-1]["seq"],
        wrong=wrong,
    )


def decision_of(form: Mapping[str, str], address: Mapping[str, Any]) -> Decision:
    """What a form decides. Of an address the fields that differ from `address`, as it was shown.
    InvalidInput says what is wrong."""
    kind = form.get("kind", "")
    if kind != "ship_to":
        return read_decision({kind: form.get("value", "").strip()})
    given = {name: form.get(name, "").strip() for name in ADDRESS}
    changed = {
        name: value or None for name, value in given.items() if value != (address.get(name) or "")
    }
    return read_decision({kind: changed})


def zones_of(tx: Tx, of: Iterable[Source]) -> list[str]:
    """The names of the tax zones that orders of these sources may go to."""
    versions = rules.newest(tx, {source.policy.rules for source in of}).values()
    return sorted({zone.name for version in versions for zone in version.rules.rules.tax.zones})
