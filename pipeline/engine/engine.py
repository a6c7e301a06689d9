"""The engine: claim → run → record → announce, for one batch of one step at a time."""

from __future__ import annotations

import logging
import random
import threading
import time
import uuid
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from pipeline.engine.claim import (
    DEATHS_BEFORE_HALVING,
    DEATHS_BEFORE_HOLD,
    Batch,
    Suspect,
    claim,
    halve,
)
from pipeline.engine.lanes import Lanes, Visit
from pipeline.engine.leases import Leases
from pipeline.engine.record import CarryOn, Recorded, hand_back, record
from pipeline.engine.solitude import Solitude
from pipeline.engine.watch import Watch, watched
from pipeline.errors import ConfigurationError, LeaseLost
from pipeline.outcome import Hold, Outcome
from pipeline.redaction import describe
from pipeline.stages.step import Step
from pipeline.storage import counters, queues
from pipeline.storage.database import Database
from pipeline.telemetry.metrics import STAGE_SECONDS

log = logging.getLogger(__name__)


class Announcer(Protocol):
    """Sends hints: "there is work for this step". May lose, double or delay them; may raise."""

    def announce(self, step: str, dispatch_id: int) -> None: ...


@dataclass(frozen=True, slots=True)
class Broken:
    """Stands for the plan that a step failed to make."""

    error: Exception


@dataclass(frozen=True, slots=True)
class Limits:
    """How much and how long. Evidence for the defaults is in docs/operating.md."""

    batch: int = 1_000
    lease_seconds: float = 15.0
    attempts: int = 8
    bulk: int = 1  # batches of that lane in hand at once


class Engine:
    """Takes batches through steps. One a process; its methods may be called from many threads."""

    def __init__(
        self,
        database: Database,
        steps: Mapping[str, Step[Any, Any]],
        announcer: Announcer,
        leases: Leases,
        limits: Limits = Limits(),
        serves: Collection[str] | None = None,
    ) -> None:
        self.database = database
        self.steps = steps
        self.announcer = announcer
        self.leases = leases
        self.limits = limits
        self.serves = frozenset(steps if serves is None else serves)
        if unknown := sorted(self.serves - steps.keys()):
            raise ConfigurationError(
                f"no step is called {', '.join(unknown)}: assembly.steps lacks it"
            )
        self._solitude = Solitude()
        self._lanes = Lanes(limits.bulk)
        self._stopping = threading.Event()

    def work(self, step: str) -> int:
        """Take one batch through `step`, and on through the stages that follow as long as they
        are served here; returns how many orders were claimed (0: the hint was stale)."""
        try:
            with self._solitude.among_others():
                return self._work(step)
        except Suspect:
            with self._solitude.alone(self.limits.lease_seconds) as alone:
                if alone:
                    return self._work(step, alone=True)
            # Something of ours takes long, or hangs: another process may have the suspect, what
            # waits behind it need not.
            with self._solitude.among_others():
                return self._work(step, avoid_suspects=True)

    def _work(self, step: str, *, alone: bool = False, avoid_suspects: bool = False) -> int:
        with self._lanes.visit(step) as visit:
            batch = self._claim(step, visit, alone, avoid_suspects)
            claimed = 0 if batch is None else len(batch.everyone)
            while batch is not None:
                visit.give_way()
                batch = self._take_through(batch)
        # Who came for bulk work meanwhile, and had no place, has taken its hint along.
        self.announce([(each, 0) for each in self._lanes.turned_away()])
        return claimed

    def stop(self) -> None:
        """Finish the step in hand, but carry no batch on to the next."""
        self._stopping.set()

    def announce(self, dispatches: Sequence[tuple[str, int]]) -> None:
        """Send hints. A failure loses nothing: the scheduler announces what stays unclaimed."""
        try:
            for step, dispatch_id in dispatches:
                self.announcer.announce(step, dispatch_id)
        except Exception as error:  # schedulers announce what nobody came for
            log.warning("could not announce %s: %s", dispatches, error)

    def _claim(self, step: str, visit: Visit, alone: bool, avoid_suspects: bool) -> Batch | None:
        began = time.perf_counter()
        with self.database.transaction() as tx:
            batch = claim(
                tx,
                step,
                self.limits.batch,
                self.limits.lease_seconds,
                admit=visit.admit,
                most_bulk=self._lanes.most_bulk(self.limits.batch),
                alone=alone,
                avoid_suspects=avoid_suspects,
            )
            if batch is None:
                return None
            if batch.lapsed:
                counters.add(tx, step, {counters.LAPSED: len(batch.everyone)})
            halves = self._halve_if_deadly(tx, batch)
            if not halves and batch.deaths < DEATHS_BEFORE_HOLD:
                batch.plan = self._intend(tx, batch)
        STAGE_SECONDS.labels(step, "claim").observe(time.perf_counter() - began)
        if halves:
            self.announce([(step, half) for half in halves])
            return None
        if batch.backlog:
            self.announce([(step, batch.dispatch_ids[0])])
        return batch

    def _halve_if_deadly(self, tx: Any, batch: Batch) -> list[int]:
        if batch.deaths < DEATHS_BEFORE_HALVING or len(batch.everyone) == 1:
            return []
        hand_back(tx, batch)
        return halve(tx, batch)

    def _intend(self, tx: Any, batch: Batch) -> Any:
        """The step's plan; or, as a plan, the defect that shows: it is the step's own to isolate."""
        step = self.steps[batch.step]
        if not step.calls_out(batch.orders):  # has nothing to say: spare it the savepoint
            return None
        try:
            with tx.begin_nested():
                return step.intend(tx, batch.orders)
        except Exception as error:  # a defect of a step ends on a hold, an outage is raised again
            if self.database.is_disconnect(error):
                raise
            return Broken(error)

    def _take_through(self, batch: Batch) -> Batch | None:
        """Run and record one step; returns the batch to carry on with."""
        with watched(batch) as watch:
            try:
                with self.leases.kept(batch.token, self.steps[batch.step].time_limit, batch):
                    recorded = self._run_and_record(batch, watch)
            except LeaseLost as lost:
                told = "%s; %d orders of %s are left to it"
                log.warning(told, lost, len(batch.orders), batch.step)
                watch.failed("lease_lost")
                return None
            watch.recorded(recorded.moves)
        self.announce(recorded.announce)
        return recorded.carried

    def _run_and_record(self, batch: Batch, watch: Watch) -> Recorded:
        if batch.deaths >= DEATHS_BEFORE_HOLD:
            return self._record_as(batch, Hold("poison", {"deaths": batch.deaths}))
        step = self.steps[batch.step]
        try:
            if isinstance(batch.plan, Broken):
                raise batch.plan.error
            with STAGE_SECONDS.labels(batch.step, "call").time():
                findings = step.call(batch.plan)
            with STAGE_SECONDS.labels(batch.step, "record").time():
                return self._record_patiently(batch, step, findings)
        except LeaseLost:
            raise
        except Exception as error:  # as above; here the calls may have been made
            if self.database.is_disconnect(error):
                raise  # not the orders' fault: the lease runs out and the batch is taken again
            log.exception("%s failed on a batch of %d orders", batch.step, len(batch.orders))
            watch.failed("raised")
            return self._isolate(batch, error)

    def _record_patiently(self, batch: Batch, step: Step[Any, Any], findings: Any) -> Recorded:
        """What the outside world said must not be lost because the database restarts meanwhile."""
        give_up = time.monotonic() + step.time_limit
        while True:
            try:
                return self._record(batch, step, findings)
            except Exception as error:  # what the gateway did is recorded once it can be
                if not self.database.is_disconnect(error) or time.monotonic() > give_up:
                    raise
                log.warning("recording %s again: %s", batch.step, _describe(error))
                time.sleep(random.uniform(0.1, 0.5))

    def _record(self, batch: Batch, step: Step[Any, Any], findings: Any) -> Recorded:
        with self.database.transaction() as tx:
            hand_back(tx, batch)
            outcomes = step.settle(tx, batch.orders, findings)
            carry_on = self._carry_on(tx)
            recorded = record(tx, batch, outcomes, self.limits.attempts, carry_on)
            if recorded.carried is not None:
                carried = recorded.carried
                carried.plan = self._intend(tx, carried)
            return recorded

    def _isolate(self, batch: Batch, error: Exception) -> Recorded:
        """A defect showed on this batch: halve it until the order that provokes it stands alone."""
        if len(batch.everyone) == 1:
            return self._record_as(batch, Hold("defect", {"error": _describe(error)}))
        with self.database.transaction() as tx:
            hand_back(tx, batch)
            halves = halve(tx, batch)
        return Recorded([(batch.step, half) for half in halves], None, [])

    def _record_as(self, batch: Batch, outcome: Outcome) -> Recorded:
        with self.database.transaction() as tx:
            hand_back(tx, batch)
            outcomes = [outcome] * len(batch.orders)
            return record(tx, batch, outcomes, self.limits.attempts, None)

    def _carry_on(self, tx: Any) -> CarryOn | None:
        if self._stopping.is_set():
            return None
        steps = self.serves - queues.paused(tx).keys()
        return CarryOn(steps, str(uuid.uuid4()), self.limits.lease_seconds)


def _describe(error: Exception) -> str:
    return describe(error)[:200]
