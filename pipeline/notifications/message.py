"""What there is to tell, to whom, and whether it got there."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol, get_args

Channel = Literal["email", "page"]
CHANNELS: tuple[Channel, ...] = get_args(Channel)
#: Their targets are no person's. Those of all others are forgotten with whoever ordered.
IMPERSONAL: frozenset[str] = frozenset({"page"})

CONFIRMED = "order.confirmed"
SHIPPED = "order.shipped"


@dataclass(frozen=True, slots=True)
class Notification:
    """One thing to tell one target.

    `id` names it for ever: a delivery that is repeated carries the same id, so that the receiver
    can tell. `topic` ("order.confirmed") picks the template. `target` is an address; a page goes to
    whoever is on call. `payload` is JSON; the templates want
    `order_id`, `external_id`, `customer_name` (or None), `currency`, `lines` (each `sku`, `quantity`, `discount`, `net`,
    `gross`), `shipping` (None, or `method`, `discount`, `net`, `gross`) and `totals` (`net`, `tax`,
    `shipping`, `discount`, `gross`), amounts as text. Net and gross are after discounts, which are
    with tax where prices include it; `totals.shipping` is with its tax.
    One that is SHIPPED has a `shipment` as well: `reference`, `carrier` and `tracking` (or None),
    `lines` (each `line`, `sku`, `units`).
    """

    id: str
    order_id: int
    source: str
    channel: Channel
    topic: str
    target: str
    payload: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Delivered:
    """The receiver's server took it."""


@dataclass(frozen=True, slots=True)
class Failed:
    """It did not get there, or we can't be sure. `error` is a sentence for operators."""

    error: str


Delivery = Delivered | Failed


class Sender(Protocol):
    """One way to deliver. One conversation with one endpoint: `Courier` runs several at a time."""

    def send(self, notifications: Sequence[Notification]) -> Iterator[Delivery]:
        """Deliver them one after the other, yielding each result as it is known, in input order.

        Never raises for a failure. Thread-safe. Once the endpoint is found to be away, the rest
        fails without being tried.
        """
