"""Every reason that an order can be on hold for: what it means, and what puts it right.

One table, for whoever tells a person; a test finds the reasons that the code can give.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from pipeline.decisions import answers_to
from pipeline.payments.account import BY_HAND

_REQUEUE = "ordermill orders requeue {id}"
_LOOK_FIRST = "look at it: requeue it to let it pass, or cancel it"
_WHEN_IT_ANSWERS = (
    "when the gateway answers again, requeue it: the same key is looked up first, "
    "and nothing is moved twice"
)


@dataclass(frozen=True, slots=True)
class HoldReason:
    """In words, and the command; `{id}` stands for the order's id."""

    means: str
    do: str
    command: str = _REQUEUE
    decidable: bool = True  # by a decision that answers the reason, if there is one


#: By reason; or by reason and the code in the event's detail, where that asks for something else.
HOLD_REASONS: dict[str, HoldReason] = {
    "amount_over_limit": HoldReason("its total is over its source's hold_over", _LOOK_FIRST),
    "country_held": HoldReason("its country is among its source's hold_countries", _LOOK_FIRST),
    "no_tax_rate": HoldReason(
        "the rules have no tax zone for its address, or no rate there for a product's tax class",
        "add it to the rules, `ordermill pricing import FILE`, then requeue it",
    ),
    "address_unclear": HoldReason(
        "its rules tell regions or postal codes of its country apart, and of its address that can't "
        "be told: one is missing, or not known there, or the two contradict each other",
        "correct its address, or name the tax zone that it is in; where shipping asks (the detail "
        "names a shipping method), only a correct address will do",
        "ordermill orders decide {id} --ship-to postal_code=CODE",
    ),
    "no_shipping_rate": HoldReason(
        "the shipping method that it has without having asked for it has no rate for it",
        "add one to the rules, `ordermill pricing import FILE`, then requeue it",
    ),
    "no_shipping_method": HoldReason(
        "it is sold already, with a shipping method that the rules don't have",
        "add it to the rules, `ordermill pricing import FILE`, then requeue it",
    ),
    "total_differs": HoldReason(
        "it would cost more than the total that it states, and nothing was charged",
        "decide to charge the total that was shown, or cancel it",
        "ordermill orders decide {id} --charge shown",
    ),
    "total_differs/less": HoldReason(
        "it is sold already, and the total that it states is more than its lines and shipping sum "
        "to: it isn't known what the rest is for",
        "ask whoever sent it, then cancel it and let them send it anew, whole",
        "ordermill orders cancel {id}",
        decidable=False,
    ),
    "price_not_agreed": HoldReason(
        "it states unit prices, and its source's price_policy is no longer as_sold",
        "set price_policy=as_sold for its source, requeue it, and set it back; or cancel it",
    ),
    **dict.fromkeys(
        ("coupon_unknown", "coupon_expired", "coupon_not_applicable", "coupon_exhausted"),
        HoldReason(
            "it is sold already, at agreed prices, and gives a coupon that can't change them",
            "ask whoever sent it, then cancel it",
            "ordermill orders cancel {id}",
        ),
    ),
    "price_not_payable": HoldReason(
        "a price that it states is finer than what its source's gateway takes of that currency",
        "have it sent again at a price that can be paid, or set its source's gateway to one that "
        "takes it and requeue it; or cancel it",
    ),
    "amount_too_large": HoldReason(
        "it is sold already, and with its tax and shipping costs more than any amount may be",
        "ask whoever sent it, then cancel it",
        "ordermill orders cancel {id}",
    ),
    "sku_held": HoldReason(
        "a SKU that it needs is held: somebody held it, or a count of it differs from the books",
        "find out why it is held, `ordermill stock release SKU`, then requeue it",
    ),
    "vat_unverified": HoldReason(
        "VIES says that its VAT id is not valid, or gave no answer to be trusted; detail says which",
        "if VIES didn't answer, requeue it: it is asked again; else believe the id by its form, or "
        "charge tax (--vat tax)",
        "ordermill orders decide {id} --vat form",
    ),
    "backorder_expired": HoldReason(
        "it has waited for stock for as long as its source lets it, and keeps what it has and its place",
        "let it wait until another day, or cancel it; if all has come meanwhile, requeue it",
        "ordermill orders decide {id} --wait-until DAY",
    ),
    "no_gateway": HoldReason(
        "its source names no gateway, or the sandbox where there is a live key: nobody would be paid",
        "name one, `ordermill sources set NAME --set gateway=…`, then requeue it; or cancel it",
    ),
    "payment_unknown": HoldReason(
        "the gateway gave no answer to be trusted, and may have charged", _WHEN_IT_ANSWERS
    ),
    "gateway_refused": HoldReason(
        "the gateway calls what it was asked for invalid: nothing was taken, and the customer's card "
        "is not why; the code says what is wrong",
        "mend that (the gateway's account, the method that was sent, the source's gateway), then "
        "requeue it: it is asked for anew; or cancel it",
    ),
    "payment_key_taken": HoldReason(
        "the gateway has a payment of another amount under its key, and this database knows of none: "
        "a failover has lost it, or a restored backup",
        "look the key up at the gateway and give that payment back, or cancel the order; requeued, it "
        "is charged anew",
    ),
    "undo_unknown": HoldReason(
        "the gateway gave no answer to be trusted while money was given back", _WHEN_IT_ANSWERS
    ),
    "undo_failed": HoldReason(
        "the gateway refused to give its money back, and a person was paged",
        "settle the cause at the gateway, then requeue it: it is tried again",
    ),
    f"undo_failed/{BY_HAND}": HoldReason(
        "it was paid by hand, and is to be paid back so",
        "pay it back and record that: it goes on by itself",
        "ordermill payments record-refund {id} --reference TRANSFER",
    ),
    "defect": HoldReason(
        "a step failed on this order, alone: a defect of ours or of its data",
        "mend what the detail names (the log has the traceback), deploy, then requeue it",
    ),
    "poison": HoldReason(
        "worker after worker died while it had this order, and nothing else, in hand",
        "find out how they died (was memory short?), then requeue it",
    ),
}


def hold_of(order_id: int, reason: str, events: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Why an order is on hold: means, do, command, the kinds of decisions that answer it, and the
    detail of the event that held it."""
    held = next((e for e in reversed(events) if e["kind"] == "held"), {"detail": None})
    detail = json.loads(held["detail"] or "{}")
    known = HOLD_REASONS.get(f"{reason}/{detail.get('code')}") or HOLD_REASONS.get(reason)
    if known is None:  # the order was held by another version of the code
        known = HoldReason(f"it was held for {reason}", _LOOK_FIRST)
    told = asdict(known)
    answers = answers_to(reason) if told.pop("decidable") else []
    return {
        **told,
        "command": known.command.format(id=order_id),
        "decisions": [kind.name for kind in answers],
        "detail": detail,
    }
