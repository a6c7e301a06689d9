"""What operators do beside the flow of orders, and how often: patient ones, and one who is not."""

from __future__ import annotations

import random
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from tests.chaos.archivist import Archivist
from tests.chaos.caller import Answered, Caller, NeverAnsweredError
from tests.chaos.crew import Crew
from tests.chaos.journal import Journal
from tests.chaos.shop import SCARCE

#: The newest orders: an impatient operator cancels what has just come in.
NEWEST = 20
#: Share of acts that are done by two at once, or twice by one who saw no answer.
TWICE = 0.3
QUEUES = ("validate", "price", "pay", "reserve", "notify")
JOBS = ("deliver-notifications", "settle-payments", "reconcile-stock", "poll-gateways",
        "expire-held", "roll-up-counters")  # fmt: skip
PAUSED_FOR = 3.0

Act = Callable[["Operators"], None]


@dataclass(slots=True)
class Operators:
    """`each_second`: so many acts. `desk` is the caller who may do all; `callers` by source."""

    desk: Caller
    callers: Mapping[str, Caller]
    crew: Crew
    archivist: Archivist
    journal: Journal
    dice: random.Random
    each_second: float
    done: Counter[str] = field(default_factory=Counter)
    _over: threading.Event = field(default_factory=threading.Event)
    _threads: list[threading.Thread] = field(default_factory=list)
    _failed: list[BaseException] = field(default_factory=list)

    def start(self, number: int = 3) -> None:
        for n in range(number):
            pause = number / self.each_second
            act = threading.Thread(
                target=self._work, args=(pause,), name=f"operator-{n}", daemon=True
            )
            self._threads.append(act)
            act.start()

    def stop(self) -> None:
        """Waits for what they are doing; raises what one met that no operator should."""
        self._over.set()
        for thread in self._threads:
            thread.join()
        if self._failed:
            raise self._failed[0]

    def leave_in_order(self) -> None:
        """The last of the evening: all queues go, what is held goes on, who waits gets their units."""
        for queue in QUEUES:
            self.desk.call("POST", f"/v1/queues/{queue}/resume")
        for sku in SCARCE:
            self._receive(sku, 2 * len(self.journal.of("order")))
        self._again(lambda: self.crew.command("orders", "requeue", "--all", "--yes").returncode)

    def _work(self, pause: float) -> None:
        acts, weights = zip(*ACTS, strict=True)
        try:
            while not self._over.wait(self.dice.uniform(0, 2 * pause)):
                (act,) = self.dice.choices(acts, weights)
                act(self)
                self.done[act.__name__.strip("_")] += 1
        except (NeverAnsweredError, subprocess.TimeoutExpired) as error:
            self.journal.wrong(str(error))
        except BaseException as error:
            self._failed.append(error)

    # What they do

    def _cancel(self) -> None:
        if order := self._any():
            self._twice(lambda: self._do(order, "cancel", {}))

    def _cancel_at_once(self) -> None:
        if order := self._newest():
            self._twice(lambda: self._do(order, "cancel", {}))

    def _refund_some(self) -> None:
        if order := self._any():
            key = f"refund-{self.dice.randrange(2**40)}"
            self._twice(lambda: self._do(order, "refunds", {"amount": "1.00"}, key))

    def _refund_all(self) -> None:
        if order := self._any():
            key = f"refund-{self.dice.randrange(2**40)}"
            self._twice(lambda: self._do(order, "refunds", {}, key))

    def _ship(self) -> None:
        if order := self._any():
            what = {"reference": f"parcel-{order['id']}", "carrier": "DHL"}
            self._twice(lambda: self._do(order, "fulfilments", what))

    def _ship_a_part(self) -> None:
        if order := self._any():
            what = {"reference": f"part-{order['id']}", "lines": {"1": 1}}
            self._twice(lambda: self._do(order, "fulfilments", what))

    def _ship_and_cancel(self) -> None:
        """One packs it while another cancels it."""
        if order := self._any():
            what = {"reference": f"parcel-{order['id']}", "carrier": "DHL"}
            both = [
                lambda: self._do(order, "fulfilments", what),
                lambda: self._do(order, "cancel", {}),
            ]
            self._at_once(both)

    def _receive_some(self) -> None:
        self._receive(self.dice.choice(SCARCE), self.dice.randint(1, 12))

    def _receive(self, sku: str, units: int) -> None:
        key = f"receipt-{self.dice.randrange(2**40)}"
        what = {"sku": sku, "units": units, "reason": "came in"}

        def post() -> Answered:
            return self.desk.call(
                "POST", "/v1/stock/adjustments", what, {"Idempotency-Key": key}
            )  # fmt: skip

        answers = self._twice(post)
        if any(answer.status != 200 for answer in answers):
            self.journal.wrong(f"a receipt was answered {answers}")
        else:
            self.journal.write("receipt", sku=sku, units=units, key=key)

    def _pause(self) -> None:
        queue = self.dice.choice(QUEUES)
        self.desk.call("POST", f"/v1/queues/{queue}/pause")
        self._over.wait(PAUSED_FOR)
        self.desk.call("POST", f"/v1/queues/{queue}/resume")

    def _run_job(self) -> None:
        self.desk.call("POST", f"/v1/jobs/{self.dice.choice(JOBS)}/run")

    def _requeue_all(self) -> None:
        self.crew.command("orders", "requeue", "--all", "--yes")

    def _upgrade(self) -> None:
        """Somebody deploys, and the schema is what it was."""
        self.crew.command("db", "upgrade")

    def _archive(self) -> None:
        self.archivist.archive()

    def _touch_archived(self) -> None:
        """What is long over comes up again: it is sent again, cancelled, refunded."""
        archived = self.archivist.archived
        if not archived:
            return
        order = self.dice.choice(archived)
        if self.dice.random() < 0.4:
            again = self.callers[order["source"]].call("POST", "/v1/orders", order["order"])
            if again.status != 200 or again.body["id"] != order["id"]:
                self.journal.wrong(f"archived order {order['id']}, sent again: {again}")
        elif self.dice.random() < 0.5:
            self._do(order, "cancel", {})
        else:
            key = f"refund-{self.dice.randrange(2**40)}"
            self._do(order, "refunds", {"amount": "1.00"}, key)

    # How

    def _do(
        self, order: dict[str, Any], what: str, content: dict[str, Any], key: str | None = None
    ) -> Answered:
        headers = {"Idempotency-Key": key} if key else None
        path = f"/v1/orders/{order['id']}/{what}"
        answer = self.callers[order["source"]].call("POST", path, content, headers)
        if answer.status not in (200, 201, 202, 409, 422):
            self.journal.wrong(f"{what} of {order['id']} was answered {answer}")
        named = content.get("reference") or key
        self.journal.write(
            what, id=order["id"], name=named, status=answer.status, body=answer.body
        )  # fmt: skip
        return answer

    def _any(self) -> dict[str, Any] | None:
        known = self.journal.of("order")
        return self.dice.choice(known) if known else None

    def _newest(self) -> dict[str, Any] | None:
        known = self.journal.of("order")[-NEWEST:]
        return self.dice.choice(known) if known else None

    def _twice(self, act: Callable[[], Answered]) -> list[Answered]:
        return self._at_once([act, act] if self.dice.random() < TWICE else [act])

    def _at_once(self, acts: list[Callable[[], Answered]]) -> list[Answered]:
        if len(acts) == 1:
            return [acts[0]()]
        with ThreadPoolExecutor(len(acts)) as pool:
            return [future.result() for future in [pool.submit(act) for act in acts]]

    def _again(self, command: Callable[[], int]) -> None:
        for _ in range(5):
            if command() in (0, 1):
                return
            time.sleep(1.0)


#: What they do, and how many of a hundred acts it is.
ACTS: list[tuple[Act, float]] = [
    (Operators._cancel, 14),
    (Operators._cancel_at_once, 8),
    (Operators._refund_some, 14),
    (Operators._refund_all, 5),
    (Operators._ship, 20),
    (Operators._ship_a_part, 6),
    (Operators._ship_and_cancel, 4),
    (Operators._receive_some, 12),
    (Operators._pause, 2),
    (Operators._run_job, 4),
    (Operators._requeue_all, 1),
    (Operators._upgrade, 0.5),
    (Operators._archive, 1.5),
    (Operators._touch_archived, 6),
]
