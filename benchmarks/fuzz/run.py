"""A `web` in a process of its own, and who sends it the inputs over a few connections."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.fuzz.inputs import JSON, Input, an_order, made
from benchmarks.fuzz.server import BEGIN, MESSAGES
from benchmarks.ports import await_port, free_port
from pipeline import access
from pipeline.access import OF_SOURCES
from pipeline.storage.database import Database
from tests.support import Mill

CONNECTIONS = 6
#: Seconds that an answer may take on a machine that is busy with other things.
PATIENCE = 120.0
MOST_REFUSAL = 100_000
MOST_VERDICT = 1_000
#: Milliseconds of CPU that a callback of the event loop may take.
MOST_MS = 100.0


@dataclass
class Found:
    kinds: Counter[str] = field(default_factory=Counter)
    answers: Counter[str] = field(default_factory=Counter)
    longest_refusal: tuple[int, int] = (0, -1)
    slowest: tuple[float, int] = (0.0, 0)
    faults: list[str] = field(default_factory=list)
    callbacks: int = 0
    dearest: list[dict[str, Any]] = field(default_factory=list)

    def wrong(self) -> list[str]:
        """All that must not be."""
        dear = [
            f"a callback took {each['ms']} ms of CPU: {each['callback']}, {each['request']}"
            for each in self.dearest
            if each["ms"] > MOST_MS
        ]
        return self.faults + dear

    def note(self, number: int, sent: Input, status: int, body: bytes, seconds: float) -> None:
        self.kinds[sent.kind] += 1
        self.answers[str(status)] += 1
        self.slowest = max(self.slowest, (seconds, number))
        if status >= 500:
            self.faults.append(f"input {number} was answered {status}: {body[:200]!r}")
        if status >= 400:
            self.longest_refusal = max(self.longest_refusal, (len(body), number))
            if len(body) > MOST_REFUSAL:
                self.faults.append(f"input {number} was refused in {len(body):,} bytes")
        if sent.path == "/v1/orders/batch" and status == 200:
            longest = max(map(len, body.splitlines()), default=0)
            if longest > MOST_VERDICT:
                self.faults.append(f"input {number} has a verdict of {longest:,} bytes")


def run(home: Path, seed: int, count: int, progress: bool = False) -> Found:
    """Send the inputs 0 to `count`; what was found."""
    key = _shop(home)
    found, report = Found(), home / "report.json"
    with _web(home, report) as port, _web(home, home / "messages.json") as messages:
        asyncio.run(_send_all((port, messages), key, seed, count, found, progress))
    told = json.loads(report.read_text())
    found.callbacks, found.dearest = told["callbacks"], told["dearest"]
    return found


def _shop(home: Path) -> str:
    database = Database(f"sqlite:///{home / 'ordermill.db'}")
    database.upgrade()
    Mill(database).stocked()
    with database.transaction() as tx:
        key = access.create(tx, "fuzz", "fuzz", source="shop", scopes=OF_SOURCES, rate=1_000_000)
    database.close()
    return key


@contextmanager
def _web(home: Path, report: Path) -> Iterator[int]:
    port = free_port()
    log = report.with_suffix(".log").open("wb")
    command = [sys.executable, "-m", "benchmarks.fuzz.server", str(home), str(port), str(report)]
    process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        await_port(port, process)
        yield port
    finally:
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            process.kill()
            raise
        finally:
            log.close()


async def _send_all(
    ports: tuple[int, int], key: str, seed: int, count: int, found: Found, progress: bool
) -> None:
    """Messages go to the second: a worker takes them, not the `web` whose loop is measured."""
    numbers = iter(range(count))
    for port in ports:
        await _warm(port, key)

    async def send() -> None:
        web, worker = map(_Wire, ports)
        for number in numbers:
            one = made(seed, number)
            began = time.monotonic()
            wire = worker if one.path == MESSAGES else web
            try:
                status, body = await wire.ask(one, key, f"fuzz-{number}")
            except TimeoutError:
                found.faults.append(f"input {number} got no answer in {PATIENCE:.0f} s")
                wire.close()
                continue
            found.note(number, one, status, body, time.monotonic() - began)
            if progress and number and number % 10_000 == 0:
                print(f"{number:,} sent, {len(found.faults)} faults", file=sys.stderr, flush=True)
        web.close()
        worker.close()

    await asyncio.gather(*(send() for _ in range(CONNECTIONS)))


async def _warm(port: int, key: str) -> None:
    """A process loads what it needs with its first requests: they aren't measured."""
    json_, good = ((b"Content-Type", JSON.encode()),), json.dumps(an_order(10**9)).encode()
    for path in ("/v1/orders", "/v1/quotes", MESSAGES, "/v1/nothing", "/console/", BEGIN):
        body = json.dumps({"source": "shop", "orders": [an_order(10**9)]}).encode()
        sent = Input("", "", "POST", path, json_, body if path == MESSAGES else good)
        await _Wire(port).ask(sent, key, "warm")
    await _Wire(port).ask(Input("", "", "POST", BEGIN, json_, b""), key, "warm")


class _Wire:
    """One connection, opened again when the server has closed it. No client library: none would
    send such headers."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def ask(self, one: Input, key: str, request_id: str) -> tuple[int, bytes]:
        """The answer's status and body; 0 if it was hung up on, as is fit for what is no HTTP."""
        for attempt in range(2):
            fresh = self._streams is None
            try:
                async with asyncio.timeout(PATIENCE):
                    return await self._exchange(one, key, request_id)
            except (ConnectionError, asyncio.IncompleteReadError):
                self.close()
                if fresh or attempt:
                    break
        return 0, b""

    async def _exchange(self, one: Input, key: str, request_id: str) -> tuple[int, bytes]:
        if self._streams is None:
            self._streams = await asyncio.open_connection("127.0.0.1", self._port, limit=2**20)
        reader, writer = self._streams
        own = {b"host": b"127.0.0.1", b"authorization": f"Bearer {key}".encode(),
               b"x-request-id": request_id.encode()}  # fmt: skip
        given = {name.lower() for name, _ in one.headers}
        headers = [(n, v) for n, v in own.items() if n not in given] + list(one.headers)
        if one.body or one.method == "POST":
            headers.append((b"content-length", str(len(one.body)).encode()))
        head = b"".join(name + b": " + value + b"\r\n" for name, value in headers)
        writer.write(f"{one.method} {one.path} HTTP/1.1\r\n".encode() + head + b"\r\n" + one.body)
        reading = asyncio.ensure_future(_answer(reader, one.method))
        with suppress(ConnectionError):  # refused before all was sent: the answer may have come
            await writer.drain()
        status, body, closes = await reading
        if closes or not given <= {b"content-type"}:
            self.close()  # what strange headers announced may be waited for
        return status, body

    def close(self) -> None:
        if self._streams is not None:
            self._streams[1].close()
            self._streams = None


async def _answer(reader: asyncio.StreamReader, method: str) -> tuple[int, bytes, bool]:
    status, headers = 100, dict[bytes, bytes]()
    while status < 200:
        head = (await reader.readuntil(b"\r\n\r\n")).split(b"\r\n")
        status = int(head[0].split(b" ", 2)[1])
        headers = {
            name.strip().lower(): value.strip()
            for name, _, value in (line.partition(b":") for line in head[1:-2])
        }
    closes = headers.get(b"connection", b"").lower() == b"close"
    if method == "HEAD" or status in (204, 304):
        return status, b"", closes
    if headers.get(b"transfer-encoding") == b"chunked":
        body = b""
        while size := int(await reader.readuntil(b"\r\n"), 16):
            body += (await reader.readexactly(size + 2))[:-2]
        await reader.readuntil(b"\r\n")
        return status, body, closes
    return status, await reader.readexactly(int(headers.get(b"content-length", b"0"))), closes
