"""What a stage, or the undo of one, looks like to the engine.

The engine takes a batch of orders through three calls:

    intend   in the claiming transaction: read, and persist what is about to be done; → plan
    call     no transaction open: ask the outside world, concurrently; never raises for an order
    settle   in the recording transaction: decide purely, write in sets, one outcome an order

A step that doesn't call out (an InnerStep) has only `settle`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Generic, TypeVar

from pipeline.order import Order
from pipeline.outcome import Outcome
from pipeline.storage.database import Tx

Plan = TypeVar("Plan")
Findings = TypeVar("Findings")


class Step(ABC, Generic[Plan, Findings]):
    #: Seconds a batch may take in all before its worker is taken for hung and its lease let go.
    time_limit: float = 60.0

    def calls_out(self, orders: Sequence[Order]) -> bool:
        """Pure: whether it may have something to ask for these. If not, `intend` is left out, and
        `call` has None for a plan."""
        return True

    @abstractmethod
    def intend(self, tx: Tx, orders: Sequence[Order]) -> Plan:
        """Persist what `call` is about to do, so that a crash in the middle can be made good."""

    @abstractmethod
    def call(self, plan: Plan) -> Findings:
        """Ask the outside world. Must not begin anything new once `time_limit` is over."""

    @abstractmethod
    def settle(self, tx: Tx, orders: Sequence[Order], findings: Findings) -> list[Outcome]:
        """Decide and write; one outcome an order, in the order given, always."""


class InnerStep(Step[None, None]):
    """A step that needs nothing but the database."""

    def calls_out(self, orders: Sequence[Order]) -> bool:
        return False

    def intend(self, tx: Tx, orders: Sequence[Order]) -> None:
        return None

    def call(self, plan: None) -> None:
        return None
