"""Why a line bears no tax, by the codes of EN 16931: the category of UNCL 5305 that an invoice names
and, where the list of exemption reasons (VATEX) has one, the reason's code."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Why:
    """`means`: in words."""

    name: str
    category: str
    code: str | None
    means: str


NO_TAX_RULES = Why("no_tax_rules", "O", "VATEX-EU-O", "outside the scope of tax: no zones")
CUSTOMER_GROUP = Why("customer_group", "E", None, "the customer's group is exempt")
#: Goods that go from one member state to a business in another.
INTRA_COMMUNITY = Why(
    "reverse_charge", "K", "VATEX-EU-IC", "intra-community supply, reverse charge"
)
#: To a business in the EU, from outside.
REVERSE_CHARGE = Why("reverse_charge", "AE", "VATEX-EU-AE", "reverse charge")
EXPORT = Why("export", "G", "VATEX-EU-G", "export")
ZERO_RATE = Why("zero_rate", "Z", None, "zero-rated")

_ALL = (NO_TAX_RULES, CUSTOMER_GROUP, INTRA_COMMUNITY, REVERSE_CHARGE, EXPORT, ZERO_RATE)
_MEANS = {(why.name, why.category): why.means for why in _ALL}


def step(why: Why, places: Sequence[int | str]) -> dict[str, Any]:
    """For the explanation: `places` are the numbers of lines, and "shipping"."""
    return {
        "step": "untaxed",
        "why": why.name,
        "category": why.category,
        "code": why.code,
        "places": list(places),
    }


def in_words(step: Mapping[str, Any]) -> str:
    means = _MEANS.get((step["why"], step["category"]), step["why"])
    codes = step["category"] if step["code"] is None else f"{step['category']}, {step['code']}"
    return f"no tax: {means} ({codes})"
