"""Forgetting who ordered, and keeping what was sold: pure, over an order's rows as the archive has
them. What is kept is named; whatever else there is, or will be, goes."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from pipeline.notifications.message import IMPERSONAL
from pipeline.vat import check

#: What stands where something was that is nobody's business any more.
ERASED = "(erased)"

#: Signs of a postal code that are kept: a region of many people, everywhere.
_POSTAL_SIGNS = 2

_DOCUMENT = ("external_id", "currency", "lines", "coupons", "shipping_method", "total", "placed_at")
_DETAILS = frozenset(
    {
        "amount", "net", "tax", "total", "shown", "limit", "currency", "key", "operation", "state", "code", "country",
        "sku", "skus", "lines", "coupon", "shipping_method", "deaths", "delay", "attempt",
        "gave_up_after", "reference", "location", "charge", "tax_zone", "vat", "ship_to_fields", "vies",
    }
)  # fmt: skip
#: Our own reasons; what a person typed is told from them by its form, or by what it is the reason of.
_WORD = re.compile(r"[a-z]+(_[a-z]+)+|cancelled|declined|defect|poison")
_TYPED = frozenset({"refund_requested", "returned"})


def anonymous(document: Mapping[str, Any]) -> dict[str, Any]:
    """A document (schema.OrderIn) that says what was ordered, from where, and not by whom."""
    kept = {name: document[name] for name in _DOCUMENT if name in document}
    customer = document.get("customer") or {}
    kept["customer"] = {"group": customer["group"]} if "group" in customer else {}
    for name in ("ship_to", "bill_to"):
        if name in document:
            kept[name] = _place(document[name])
    if "payment" in document:
        kept["payment"] = {"method": ERASED}
    return kept


def _place(address: Mapping[str, Any]) -> dict[str, Any]:
    place = {"country": address["country"]} if "country" in address else {}
    if address.get("postal_code"):
        place["postal_code"] = address["postal_code"][:_POSTAL_SIGNS]
    return place


def _decided(decided: str | None) -> str | None:
    """What was decided of it; of a corrected address the place."""
    if decided is None:
        return None
    told = json.loads(decided)
    if "ship_to" in told:
        told["ship_to"] = _place(told["ship_to"])
    return json.dumps(told, ensure_ascii=False)


def _vat_check(kept: str | None) -> str | None:
    """Whether its VAT id counted, and since when we know."""
    return None if kept is None else json.dumps(check.anonymous(json.loads(kept)))


def forget_person(contents: Mapping[str, list[dict[str, Any]]], at: str) -> None:
    """Change an order's rows of `order_documents`, `events` and `notifications` in place, so that
    they don't say any more who ordered. `at` is when that is."""
    for row in contents["order_documents"]:
        document = json.dumps(anonymous(json.loads(row["body"])), ensure_ascii=False)
        decided = _decided(row.get("decided"))
        row.update(body=document, decided=decided, customer=None, email_key=None, erased_at=at)
        row["vat_check"] = _vat_check(row.get("vat_check"))
    for row in contents.get("events") or ():
        row.update(reason=_reason(row), detail=_detail(row["detail"]))
    for row in contents.get("notifications") or ():
        if row["channel"] not in IMPERSONAL:
            state = "failed" if row["state"] == "pending" else row["state"]
            row.update(target=ERASED, state=state)
        row.update(error=row["error"] and ERASED)


def _reason(event: Mapping[str, Any]) -> str | None:
    reason: str | None = event["reason"]
    if reason is None or (event["kind"] not in _TYPED and _WORD.fullmatch(reason)):
        return reason
    return reason if reason == "late_money" else ERASED


def _detail(detail: str | None) -> str | None:
    if detail is None:
        return None
    told = json.loads(detail)
    return json.dumps({k: v if k in _DETAILS else ERASED for k, v in told.items()})
