"""A load generator, in a process of its own: `python -m benchmarks.load` with a `Plan` as JSON on stdin.

Keeps connections busy with single orders, each sent when the one before it was answered. Requests are
cut from one template and answers are read no further than they must be, so that the generator costs
a fraction of what the server does. A connection that breaks is opened again, and what it had not been
told of is sent again: as a client does that takes its orders seriously.

The last line on stdout is the `Outcome` as JSON.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import BinaryIO

from benchmarks.assortment import an_order
from benchmarks.contract import Latency

CONNECTIONS = 64
RECONNECT_SECONDS = 0.05
PLACE = "@" * 12


@dataclass(frozen=True)
class Plan:
    """`orders` to `path`, numbered from `first`. `journal`: a file that every 202 is on disk in, as
    a line of external_id and id, before it counts; empty: none."""

    port: int
    path: str
    key: str
    orders: int
    first: int = 1
    journal: str = ""
    connections: int = CONNECTIONS

    def start(self) -> subprocess.Popen[str]:
        process = subprocess.Popen(
            [sys.executable, "-m", "benchmarks.load"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert process.stdin is not None
        process.stdin.write(json.dumps(asdict(self)) + "\n")
        process.stdin.flush()
        return process


@dataclass(frozen=True)
class Outcome:
    """Answers by status, how often a connection broke, and how long answers took that came."""

    seconds: float
    statuses: dict[str, int]
    broken: int
    latency_ms: Latency
    cpu_seconds: float

    @classmethod
    def of(cls, process: subprocess.Popen[str]) -> Outcome:
        """Wait for the process and read what it has to tell."""
        told = process.communicate()[0]
        if process.returncode:
            raise RuntimeError(f"the load generator failed: {told}")
        found = json.loads(told.splitlines()[-1])
        return cls(**{**found, "latency_ms": Latency(**found["latency_ms"])})


class Journal:
    """What was told is on disk before it counts; one write and one fsync for all that came meanwhile."""

    def __init__(self, path: str) -> None:
        self._file: BinaryIO = Path(path).open("ab")  # noqa: SIM115 # open as long as the process
        self._told: list[bytes] = []
        self.is_over = False

    def note(self, line: bytes) -> None:
        self._told.append(line)

    async def keep(self) -> None:
        """Until it is over, and all is kept."""
        while self._told or not self.is_over:
            told, self._told = self._told, []
            if told:
                await asyncio.to_thread(self._write, told)
            else:
                await asyncio.sleep(0.005)
        self._file.close()

    def _write(self, told: list[bytes]) -> None:
        self._file.write(b"".join(told))
        self._file.flush()
        os.fsync(self._file.fileno())


class Load:
    """The connections' common books."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan
        self.head, self.tail = _request(plan)
        self.numbers: Iterator[int] = iter(range(plan.first, plan.first + plan.orders))
        self.statuses: Counter[str] = Counter()
        self.took: list[float] = []
        self.broken = 0
        self.journal = Journal(plan.journal) if plan.journal else None

    async def run(self) -> Outcome:
        keeping = asyncio.create_task(self.journal.keep()) if self.journal else None
        began, used = time.perf_counter(), time.process_time()
        await asyncio.gather(*(self._keep_busy() for _ in range(self.plan.connections)))
        seconds, cpu = time.perf_counter() - began, time.process_time() - used
        if self.journal and keeping:
            self.journal.is_over = True
            await keeping
        took = [1000 * each for each in self.took]
        return Outcome(seconds, dict(self.statuses), self.broken, Latency.of(took), cpu)

    async def _keep_busy(self) -> None:
        """One connection, opened again whenever it breaks, until there is nothing more to send."""
        loop, unanswered = asyncio.get_running_loop(), next(self.numbers, None)
        while unanswered is not None:
            connection = Connection(self, unanswered)
            try:
                await loop.create_connection(lambda c=connection: c, "127.0.0.1", self.plan.port)  # type: ignore[misc]
                unanswered = await connection.ended
            except OSError:
                await asyncio.sleep(RECONNECT_SECONDS)

    def answered(self, number: int, status: str, body: bytes, took: float) -> None:
        self.took.append(took)
        self.statuses[status] += 1
        if self.journal and status == "202":
            self.journal.note(b"%d %d\n" % (number, json.loads(body)["id"]))


class Connection(asyncio.Protocol):
    """Sends `number` and whatever is next, one at a time. `ended`: what it had no answer to, if any."""

    def __init__(self, load: Load, number: int) -> None:
        self._load = load
        self._number: int | None = number
        self._read = b""
        self._sent = 0.0
        self.ended: asyncio.Future[int | None] = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._send()

    def data_received(self, data: bytes) -> None:
        self._read += data
        head, found, body = self._read.partition(b"\r\n\r\n")
        if not found or len(body) < _length(head):
            return
        assert self._number is not None
        took = time.perf_counter() - self._sent
        self._load.answered(self._number, head[9:12].decode(), body, took)
        self._read = b""
        self._number = next(self._load.numbers, None)
        if self._number is None:
            self._transport.close()
        else:
            self._send()

    def connection_lost(self, exc: Exception | None) -> None:
        self._load.broken += self._number is not None
        if not self.ended.done():
            self.ended.set_result(self._number)

    def _send(self) -> None:
        self._sent = time.perf_counter()
        self._transport.write(b"%b%012d%b" % (self._load.head, self._number, self._load.tail))


def _request(plan: Plan) -> tuple[bytes, bytes]:
    """What stands before and after the twelve digits that differ."""
    body = json.dumps(an_order(PLACE, (1, 2, 3)))
    text = (
        f"POST {plan.path} HTTP/1.1\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {plan.key}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n{body}"
    )
    head, tail = text.encode().split(PLACE.encode())
    return head, tail


def _length(head: bytes) -> int:
    _, _, rest = head.lower().partition(b"\r\ncontent-length: ")
    return int(rest.partition(b"\r\n")[0])


def external_id(number: int) -> str:
    return f"{number:012d}"


async def _main() -> None:
    plan = Plan(**json.loads(sys.stdin.readline()))
    gc.disable()
    print(json.dumps(asdict(await Load(plan).run())))


if __name__ == "__main__":
    asyncio.run(_main())
