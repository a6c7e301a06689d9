"""Threads that call gateways: many payments at once, each order's calls one after another."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from contextvars import copy_context
from typing import TypeVar

from pipeline.order import Lane
from pipeline.payments.gateway import Answer, Call, Gateway, Payment, Unavailable, Unknown

Item = TypeVar("Item")
Result = TypeVar("Result")


#: To be asked for again as soon as somebody has time.
OUT_OF_TIME = Unavailable("the batch ran out of time", 0.0)


class Callers:
    """The gateways there are, by name, and for each lane `most` threads to call them: a batch takes
    all of its lane's until it is through, and a shopper must not wait for an import."""

    def __init__(self, gateways: Mapping[str, Gateway], most: int) -> None:
        self.gateways = gateways
        self._most = most
        self._pools = {lane: ThreadPoolExecutor(most, f"gateway-{lane}") for lane in Lane}

    def each(
        self,
        ask: Callable[[Item], Result],
        items: Sequence[Item],
        lane: Lane = Lane.INTERACTIVE,
    ) -> list[Result]:
        """What `ask` returns for each of the items, in their order. Raises what it raises, but
        only when nobody calls any more."""
        results: dict[int, Result] = {}
        places = iter(enumerate(items))

        def ask_until_none_is_left() -> None:
            # Threads draw from one iterator: a slow answer holds up its own order, and a batch
            # costs a few submissions to the pool rather than one an order.
            for place, item in places:
                results[place] = ask(item)

        strands = [
            self._pools[lane].submit(copy_context().run, ask_until_none_is_left)
            for _ in range(min(self._most, len(items)))
        ]
        wait(strands)
        for strand in strands:
            strand.result()
        return [results[place] for place in range(len(items))]

    def perform(self, gateway: str, call: Call, by: float, *, doubtful: bool = False) -> Answer:
        """Do it; one that may have been asked for before is looked up first. Nothing is begun after
        `by`, of the monotonic clock: whoever it is done for may have been taken over by another."""
        if gateway not in self.gateways:
            return Unavailable(_missing(gateway))
        if time.monotonic() > by:
            return OUT_OF_TIME
        found = self.gateways[gateway].find(call) if doubtful else None
        if found is not None:
            return found
        if time.monotonic() > by:  # the look took its time
            return OUT_OF_TIME
        return self.gateways[gateway].perform(call)

    def find(self, gateway: str, call: Call) -> Answer | None:
        if gateway not in self.gateways:
            return Unavailable(_missing(gateway))
        return self.gateways[gateway].find(call)

    def read(self, gateway: str, reference: str) -> Payment | None | Unknown:
        if gateway not in self.gateways:
            return Unknown(_missing(gateway))
        return self.gateways[gateway].read(reference)


def _missing(gateway: str) -> str:
    return f"no gateway named {gateway} is configured"
