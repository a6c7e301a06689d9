"""What can happen to a SKU's stock at a location: the kinds of movement in its ledger."""

from __future__ import annotations

from typing import Literal, get_args

Kind = Literal[
    "receipt", "adjustment", "count", "transfer", "shipment", "return", "reservation", "release"
]
KINDS: tuple[Kind, ...] = get_args(Kind)
COUNT = "count"
#: Movements of what is promised alone: no unit leaves its shelf.
PROMISES = ("reservation", "release")
