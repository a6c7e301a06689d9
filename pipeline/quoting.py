"""What an order would cost now, without placing it: by the price stage's own decision."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from pipeline.intake.accept import foreign_prices, new_only
from pipeline.intake.schema import InvalidOrder, read_order
from pipeline.order import Lane, Order, Status
from pipeline.outcome import Outcome
from pipeline.pricing.quote import NotPriced, Quote
from pipeline.source import Source
from pipeline.stages import price
from pipeline.storage import clock
from pipeline.storage.database import Tx
from pipeline.storage.rules import Version

#: The id of an order that isn't placed: every other came before it.
_AFTER_ALL = 2**63 - 1


@dataclass(frozen=True, slots=True)
class Quoted:
    """What was found for an order, by which rules, and what the price stage would make of it."""

    order: Order
    rules: Version
    found: Quote | NotPriced
    outcome: Outcome


def quote(tx: Tx, source: Source, data: Any, given: Version | None = None) -> Quoted:
    """Price `data` (a decoded JSON object) as if its source had sent it just now, by the prices and
    rules of when it was placed, if it says so; `given` rules stand
    in for the source's. InvalidOrder names every bad field."""
    order = _order(tx, source, data)
    facts = price.look_up(tx, [order], given)
    rules, found = price.quote(order, facts)
    return Quoted(order, rules, found, price.decide(order, found))


def _order(tx: Tx, source: Source, data: Any) -> Order:
    document, now = read_order(data), clock.read(tx)
    if refused := [*foreign_prices(source, document), *new_only(source, document, now)]:
        raise InvalidOrder(document.external_id, refused)
    policy = source.policy
    return Order(
        _AFTER_ALL, document.external_id, source, policy.chain, Lane(policy.lane), Status.VALIDATED,
        "price", None, document.currency, False, 1, now, json.loads(document.body),
    )  # fmt: skip
