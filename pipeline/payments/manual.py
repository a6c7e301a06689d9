"""Money that no machine moves: invoices and transfers, recorded by people when they come.

It asks nobody and keeps nothing, so its answers depend on the call alone: asking twice, or finding
what was never recorded, is the same as asking once.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime

from pipeline.payments.gateway import (
    Answer,
    BookEntry,
    Call,
    Declined,
    GatewayEvent,
    InvalidEvent,
    RequiresAction,
    Succeeded,
    Unknown,
)


class ManualGateway:
    """A `Gateway` for invoice terms. Captures and refunds are `by_hand`: ours to record, not to ask."""

    name = "manual"

    def perform(self, call: Call) -> Answer:
        match call.kind:
            case "authorize":
                return _terms(call)
            case "void":  # nothing is held anywhere
                return Succeeded(_reference(call.key))
        return Declined("by_hand")

    def find(self, call: Call) -> Answer | None:
        return self.perform(call) if call.kind in ("authorize", "void") else None

    def read(self, reference: str) -> Unknown:
        """What became of it is known to our own operations only."""
        return Unknown("nobody but us keeps payments by hand")

    def book(
        self, since: datetime | None = None, until: datetime | None = None
    ) -> Iterator[BookEntry]:
        return iter(())

    def verify(self, payload: bytes, headers: Mapping[str, str]) -> GatewayEvent | None:
        raise InvalidEvent("the manual gateway sends no events")

    def events(self, since: datetime) -> Iterator[GatewayEvent]:
        return iter(())


def _terms(call: Call) -> Answer:
    match call.method:
        case "invoice":  # goods first
            return Succeeded(_reference(call.key))
        case "prepaid":  # money first
            return RequiresAction(_reference(call.key))
    return Declined("method_not_allowed")


def _reference(key: str) -> str:
    return f"manual_{key}"
