"""What was found out about an order's VAT id: pure. Kept with the order, as evidence."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from pipeline.order import Order
from pipeline.outcome import Hold, Outcome, Retry

#: Words of ours for what is no answer; VIES's own codes (MS_UNAVAILABLE) are kept as they are.
VALID, INVALID, NOT_ASKED = "VALID", "INVALID", "not asked in time"

#: Codes that no second try will change: they are about the request, or about us.
FINAL = frozenset({"INVALID_INPUT", "INVALID_REQUESTER_INFO", "VAT_BLOCKED", "IP_BLOCKED"})

#: Times that an order asks for an answer before its source's policy says what becomes of it.
TRIES = 4


@dataclass(frozen=True, slots=True)
class VatCheck:
    """An answer of VIES. `valid` is None where there was none that can be trusted; `said` is VIES's
    word, or ours for why. `consultation_number` proves that we asked: only who names a requester gets
    one. `requested_at` is VIES's time, `asked_at` ours (RFC 3339)."""

    vat_id: str
    valid: bool | None
    said: str
    asked_at: str
    requested_at: str | None = None
    consultation_number: str | None = None
    requester: str | None = None

    @property
    def told(self) -> dict[str, Any]:
        """As it is kept and shown."""
        return asdict(self)


def as_kept(check: VatCheck) -> str:
    return json.dumps(check.told, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def vat_id_to_ask(order: Order) -> str | None:
    """The id that VIES is to be asked about before an order of this source may do without tax; None
    if nobody is to be asked, or the answer is known."""
    if order.source.policy.vat_check != "vies":
        return None
    vat_id = order.document["customer"].get("vat_id")
    if vat_id is None or "vat" in order.decided:
        return None
    kept = order.vat_check
    is_known = kept is not None and kept["valid"] and kept["vat_id"] == vat_id
    return None if is_known else str(vat_id)


def outcome_of(order: Order, check: VatCheck, tries: int = TRIES) -> Outcome | None:
    """What an answer means for an order that would be charged no tax; None: the id counts."""
    if check.valid:
        return None
    said = {"vies": check.said}
    if check.valid is False:
        return Hold("vat_unverified", said)
    if check.said == NOT_ASKED:
        return Retry("vies_busy", said, burns=False)
    if check.said not in FINAL and order.attempt < tries:
        return Retry("vat_unverified", said)
    return None if order.source.policy.vat_unknown == "form" else Hold("vat_unverified", said)


def is_reverse_charged(steps: Iterable[Mapping[str, Any]]) -> bool:
    """Whether a quote's explanation says that the customer pays the tax themselves."""
    return any(step.get("why") == "reverse_charge" for step in steps)


def anonymous(kept: Mapping[str, Any]) -> dict[str, Any]:
    """Evidence without whom it is about: a consultation number leads to the id it was given for."""
    return {**kept, "vat_id": None, "consultation_number": None}
