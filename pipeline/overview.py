"""What an operator sees first: what needs a person, what waits where, who works.

Orders and events are never counted: this reads dispatches, counters, the index of what is on hold,
and a few small tables, however many orders there are.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from pipeline.chain import STEPS
from pipeline.decisions import answers_to
from pipeline.hold_reasons import HOLD_REASONS
from pipeline.storage import (
    clock,
    counters,
    dispatches,
    job_runs,
    processes,
    queues,
    refusals,
    selection,
)
from pipeline.storage.counters import History
from pipeline.storage.database import Tx

#: Roles without which orders don't flow, and why.
NEEDED = {
    "worker": "nothing is worked on",
    "scheduler": "retries and jobs that are due may stay where they are",
}
MINUTES, HOURS = 60, 24
HOUR = 3_600
DAY = 24 * HOUR
FAILURES = frozenset({"held", "rejected"})


@dataclass(frozen=True, slots=True)
class Queue:
    """Orders in a step's dispatches: all that `wait`, those that are `due`, those in hand. `oldest`
    is when the oldest of these dispatches was made; `paused` (paused_by, paused_at), or None."""

    step: str
    waiting: int
    due: int
    running: int
    oldest: datetime | None
    paused: Any


@dataclass(frozen=True, slots=True)
class Process:
    """`doing`: batches in hand, as {step, orders, seconds}; `breakers`: gateways that are left alone.
    `version` is that of its code, `code_schema` the schema that was written for; None if it can't say.
    `clock`: seconds that its host's clock is ahead of the database's, 0 if it is right enough."""

    role: str
    host: str
    pid: int
    started_at: datetime
    seen_at: datetime
    alive: bool
    doing: list[dict[str, Any]]
    breakers: list[str]
    version: str | None = None
    code_schema: str | None = None
    clock: int = 0


@dataclass(frozen=True, slots=True)
class Held:
    """Orders on hold for a reason, and what it means."""

    reason: str
    orders: int
    oldest: datetime
    means: str
    do: str

    @property
    def decisions(self) -> bool:
        """Whether there are decisions that answer it."""
        return bool(answers_to(self.reason))


@dataclass(frozen=True, slots=True)
class Overview:
    """`jobs` are the last runs that failed, or found a problem; `put_aside` is how many messages could
    not be read within a day."""

    at: datetime
    held: list[Held]
    queues: list[Queue]
    processes: list[Process]
    jobs: list[Any]
    put_aside: int = 0

    @property
    def missing(self) -> dict[str, str]:
        """Roles that nobody fills, and what that means."""
        there = {p.role for p in self.processes if p.alive}
        return {role: why for role, why in NEEDED.items() if role not in there}

    @property
    def breakers(self) -> list[str]:
        """Gateways that a process has found unwell, and leaves alone."""
        return sorted({name for p in self.processes if p.alive for name in p.breakers})

    @property
    def is_calm(self) -> bool:
        paused = any(queue.paused for queue in self.queues)
        needed = self.held or paused or self.missing or self.breakers or self.jobs
        return not (needed or self.put_aside)


def look(tx: Tx, jobs: Sequence[str] = ()) -> Overview:
    last = job_runs.last(tx, jobs) if jobs else {}
    return Overview(
        clock.read(tx),
        held(tx),
        all_queues(tx),
        all_processes(tx),
        [run for run in last.values() if run.state in ("problem", "failed")],
        refusals.put_aside_since(tx, DAY)[0],
    )


def held(tx: Tx) -> list[Held]:
    """All that is on hold by reason, the most first."""
    return [
        Held(r["reason"], r["orders"], r["oldest"], *_told(r["reason"]))
        for r in selection.held_by_reason(tx)
    ]


def _told(reason: str) -> tuple[str, str]:
    known = HOLD_REASONS.get(reason)
    if known is None:  # held by another version of the code
        return f"it was held for {reason}", "look at it: requeue it to let it pass, or cancel it"
    return known.means, known.do


def all_queues(tx: Tx) -> list[Queue]:
    """Every queue, in the order of the chain, undos last."""
    stats, paused = dispatches.stats(tx), queues.paused(tx)
    return [_queue(step, stats.get(step), paused.get(step)) for step in STEPS]


def _queue(step: str, found: Any, paused: Any) -> Queue:
    if found is None:
        return Queue(step, 0, 0, 0, None, paused)
    return Queue(step, int(found.orders), int(found.due), int(found.running), found.oldest, paused)


def queue_rows(tx: Tx) -> list[dict[str, Any]]:
    """Every queue as a row to show, with what the last hour brought; `paused` is by whom, or None."""
    hour = counters.since(tx, HOUR)
    return [
        {
            "queue": q.step,
            "orders": q.waiting,
            "due": q.due,
            "running": q.running,
            "oldest": q.oldest,
            **{k: hour.get((q.step, k), 0) for k in ("advanced", "retried", "held", "rejected")},
            "paused": q.paused.paused_by if q.paused else None,
        }
        for q in all_queues(tx)
    ]


def all_processes(tx: Tx) -> list[Process]:
    """All processes that are there, and those that have gone lately."""
    return [_process(r) for r in processes.all_processes(tx)]


def _process(row: Any) -> Process:
    told = json.loads(row.doing)
    return Process(
        row.role, row.host, row.pid, row.started_at, row.seen_at, bool(row.alive),
        doing=[each for each in told if "step" in each],
        breakers=[each["gateway"] for each in told if each.get("breaker") == "open"],
        version=row.version, code_schema=row.code_schema,
        clock=next((each["clock"] for each in told if "clock" in each), 0),
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Series:
    """Orders that came through, and that didn't, in each of the times `at`."""

    at: list[datetime]
    through: list[int]
    failed: list[int]


def begin(at: datetime, unit: timedelta) -> datetime:
    """When the whole minute or hour began that `at` lies in."""
    seconds = int(unit.total_seconds())
    return datetime.fromtimestamp(int(at.timestamp()) // seconds * seconds, UTC)


def series(history: History, now: datetime, count: int, unit: timedelta, step: str) -> Series:
    """The last `count` units of a queue, the one that is going on among them."""
    last = begin(now, unit)
    times = [last - unit * i for i in range(count)][::-1]
    through, failed = Counter[datetime](), Counter[datetime]()
    for (at, of_step, outcome), orders in history.items():
        if of_step != step:
            continue
        if outcome in ("advanced", "undone"):
            through[at] += orders
        elif outcome in FAILURES:
            failed[at] += orders
    return Series(times, [through[t] for t in times], [failed[t] for t in times])
