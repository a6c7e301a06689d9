"""What grows over time: memory, descriptors and threads of each process, tables, logs, connections."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from sqlalchemy.exc import DBAPIError

from tests.chaos.crew import Crew, Member
from tests.chaos.journal import Journal
from tests.chaos.records import Records

#: What no process may come to, whatever happens. Measured: 209 MB, 150 descriptors, 87 threads.
MOST = {"rss_mb": 400.0, "fds": 400, "threads": 200}
#: Bytes of log that a process may write in a minute on average. Measured: 640 kB for five, at the worst.
MOST_LOG_A_MINUTE = 1_000_000
#: Bytes that the table of what is due may take up: its rows come and go.
MOST_DISPATCHES = 16_000_000
MB = 1_000_000

_TABLES = """
    SELECT relname AS name, pg_total_relation_size(oid) AS bytes FROM pg_class
    WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace ORDER BY 2 DESC LIMIT 8
"""
_DISPATCHES = "SELECT pg_total_relation_size('dispatches')"
_CONNECTIONS = "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'"


@dataclass(slots=True)
class Gauges:
    """Looks `every` so many seconds and writes what it sees to the journal."""

    crew: Crew
    records: Records
    journal: Journal
    every: float
    _begun: float = field(default_factory=time.monotonic)
    _over: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None

    def start(self) -> None:
        self._thread = threading.Thread(target=self._look_on, name="gauges", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._over.set()
        if self._thread is not None:
            self._thread.join()
        self._look()

    def problems(self) -> Iterator[str]:
        for look in self.journal.of("gauge"):
            for name, seen in look["processes"].items():
                for what, most in MOST.items():
                    if seen[what] > most:
                        yield f"{name} had {what} {seen[what]} after {look['at']} s"
            if look["dispatches"] > MOST_DISPATCHES:
                yield f"dispatches took {look['dispatches']} bytes after {look['at']} s"
        last = self.journal.of("gauge")[-1]
        minutes = max(1.0, last["at"] / 60)
        for name, written in last["logs"].items():
            if written / minutes > MOST_LOG_A_MINUTE:
                yield f"{name} wrote {written / minutes / MB:.1f} MB of log a minute"

    def told(self) -> Iterator[str]:
        """A line a role, and one for what all share."""
        looks = self.journal.of("gauge")
        last = looks[-1]
        roles = sorted({name.split(".")[0] for name in last["logs"]})
        for role in roles:
            yield _role(role, looks)
        tables = ", ".join(f"{name} {n / MB:.1f} MB" for name, n in last["tables"].items())
        connections = max(look["connections"] for look in looks)
        yield f"tables at the end: {tables}; connections: {connections} at most"

    def _look_on(self) -> None:
        while not self._over.wait(self.every):
            self._look()

    def _look(self) -> None:
        try:
            shared = self._shared()
        except DBAPIError:
            shared = {"tables": {}, "dispatches": 0, "connections": 0}
        seen = {member.name: _seen(member) for member in self.crew.members}
        logs = {path.stem: path.stat().st_size for path in self.crew.folder.glob("*.log")}
        self.journal.write(
            "gauge",
            at=round(time.monotonic() - self._begun, 1),
            processes={name: each for name, each in seen.items() if each},
            logs=logs,
            **shared,
        )

    def _shared(self) -> dict[str, Any]:
        if self.records.is_sqlite:
            files = self.crew.folder.glob("*.db*")
            sizes = {path.name: path.stat().st_size for path in files if path.exists()}
            return {"tables": sizes, "dispatches": 0, "connections": 0}
        return {
            "tables": {row["name"]: row["bytes"] for row in self.records.rows(_TABLES)},
            "dispatches": self.records.number(_DISPATCHES),
            "connections": self.records.number(_CONNECTIONS),
        }


def _role(role: str, looks: list[dict[str, Any]]) -> str:
    def most(what: str, some: list[dict[str, Any]]) -> float:
        return max(
            (
                each[what]
                for look in some
                for name, each in look["processes"].items()
                if name.startswith(role)
            ),
            default=0,
        )

    half = len(looks) // 2
    written = sum(n for name, n in looks[-1]["logs"].items() if name.startswith(role))
    first, second = (most("rss_mb", part) for part in (looks[:half], looks[half:]))
    return (
        f"{role}: at most {first:.0f} MB in the first half, {second:.0f} MB in the second, "
        f"{most('fds', looks):.0f} descriptors, {most('threads', looks):.0f} threads; "
        f"{written / MB:.1f} MB of log"
    )


def _seen(member: Member) -> dict[str, float] | None:
    """None: it has just ended."""
    of = Path(f"/proc/{member.process.pid}")
    try:
        told = dict(line.split(":", 1) for line in (of / "status").read_text().splitlines())
        return {
            "rss_mb": int(told["VmRSS"].split()[0]) / 1_000,
            "threads": int(told["Threads"]),
            "fds": sum(1 for _ in (of / "fd").iterdir()),
        }
    except (OSError, KeyError):
        return None
