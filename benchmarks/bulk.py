"""python -m benchmarks.bulk: an import of a million orders beside shoppers at the till.

All of the Procfile's processes, in a shop with a past. First orders come one by one, at a steady
trickle, to a shop at rest. Then one request brings many more as NDJSON, while the trickle goes on, until
all of them are settled. Tells the verdicts, the memory of `ordermill web` on its way, and how long the
trickle's orders took from the commit that accepted them to the commit that confirmed them: at rest,
during the request, and while the workers caught up.
"""

from __future__ import annotations

import argparse
import json
import re
import socket
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from http.client import HTTPConnection

import psutil
from sqlalchemy import text

from benchmarks.assortment import an_order
from benchmarks.contract import Latency
from benchmarks.deployment import Deployment, deployed, wait_until_ready
from benchmarks.history import write_history
from benchmarks.ours import SKUS
from benchmarks.ports import free_port
from pipeline.storage import sources

TILL, IMPORT = "till", "import"
CHUNK_LINES = 500
#: The parts of the request at which the server's memory is read.
MARKS = (0.01, 0.5, 1.0)
LONGEST_REST_SECONDS = 3600
MOST_RATIO = 3.0
MOST_GROWTH_MB = 32.0
_VERDICT = re.compile(rb'^{"line":(\d+),.*?"verdict":"(\w+)"', re.M)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.bulk", description=__doc__)
    parser.add_argument("--lines", type=int, default=1_000_000, help="of the one request")
    parser.add_argument("--rate", type=float, default=5.0, help="orders a second of the trickle")
    parser.add_argument("--quiet", type=float, default=60.0, help="seconds of the trickle at rest")
    parser.add_argument("--history", type=int, default=100_000, help="orders of the shop's past")
    parser.add_argument("--workers", type=int, default=1, help="processes")
    options = parser.parse_args()
    with deployed(TILL, IMPORT) as deployment:
        print(json.dumps(measure(deployment, **vars(options)), indent=2))


def measure(
    deployment: Deployment, lines: int, rate: float, quiet: float, history: int, workers: int
) -> dict[str, object]:
    with deployment.database.snapshot() as tx:
        till = sources.by_name(tx, TILL)
    # An empty shop's statements are planned for empty tables, until the first are analyzed.
    write_history(deployment.database, till.id, history)
    port = free_port()
    web = psutil.Process(deployment.start("web", "--port", str(port)).pid)
    for role in ["worker"] * workers + ["scheduler"]:
        deployment.start(role)
    wait_until_ready(port)
    with trickling(Trickle(port, deployment.key(TILL), rate)) as trickle:
        _warm_up(deployment, port, trickle)
        since = trickle.told
        time.sleep(quiet)
        at_rest = range(since, trickle.told)
        told = Batch(port, deployment.key(IMPORT), lines, web).send()
        meanwhile = range(at_rest.stop, trickle.told)
        began = time.monotonic()
        _wait_until_settled(deployment)
        caught_up = time.monotonic() - began
        afterwards = range(meanwhile.stop, trickle.told)
    _wait_until_settled(deployment)
    _require_confirmed(deployment, trickle)
    took = {
        "at_rest": _latency(deployment, trickle, at_rest),
        "during_the_request": _latency(deployment, trickle, meanwhile),
        "while_catching_up": _latency(deployment, trickle, afterwards),
        "under_load": _latency(deployment, trickle, range(meanwhile.start, afterwards.stop)),
    }
    return told | {
        "seconds_to_catch_up": round(caught_up, 1),
        "orders_per_second": round(lines / (float(str(told["seconds"])) + caught_up)),
        "trickle": trickle.told - since,
        "confirmed_ms": took,
        "answered_ms": {
            "at_rest": asdict(Latency.of([trickle.answered[n] for n in at_rest])),
            "during_the_request": asdict(Latency.of([trickle.answered[n] for n in meanwhile])),
        },
        "p95_ratio": {
            name: round(each["p95"] / took["at_rest"]["p95"], 2)
            for name, each in took.items()
            if name != "at_rest"
        },
        "enough": took["under_load"]["p95"] <= MOST_RATIO * took["at_rest"]["p95"],
    }


@dataclass
class Trickle:
    """Single orders at a steady rate, sent by a clock and not by the answers: one that is slow makes
    none of the others late that come after it, as each has a connection of its own."""

    port: int
    key: str
    rate: float
    order_ids: list[int] = field(default_factory=list)
    answered: list[float] = field(default_factory=list)  # ms
    failed: list[str] = field(default_factory=list)
    over: threading.Event = field(default_factory=threading.Event)
    _sending: list[threading.Thread] = field(default_factory=list)

    @property
    def told(self) -> int:
        return len(self.order_ids)

    def run(self) -> None:
        began, number = time.monotonic(), 0
        while not self.over.wait(max(0.0, began + number / self.rate - time.monotonic())):
            number += 1
            thread = threading.Thread(target=self._send, args=(number,))
            thread.start()
            self._sending = [t for t in (*self._sending, thread) if t.is_alive()]
        for thread in self._sending:
            thread.join()

    def _send(self, number: int) -> None:
        order = an_order(f"till-{number}", [number * f % SKUS for f in (7_919, 104_729)])
        headers = {"Authorization": f"Bearer {self.key}", "Content-Type": "application/json"}
        began = time.perf_counter()
        connection = HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            connection.request("POST", "/v1/orders", json.dumps(order), headers)
            answer = connection.getresponse()
            body = answer.read()
        except OSError as error:
            self.failed.append(repr(error))
            return
        finally:
            connection.close()
        if answer.status != 202:
            self.failed.append(f"{answer.status}: {body!r}")
            return
        self.answered.append(1000 * (time.perf_counter() - began))
        self.order_ids.append(json.loads(body)["id"])


@contextmanager
def trickling(trickle: Trickle) -> Iterator[Trickle]:
    thread = threading.Thread(target=trickle.run)
    thread.start()
    try:
        yield trickle
    finally:
        trickle.over.set()
        thread.join()


@dataclass
class Batch:
    """One request of so many lines, made as they are sent, and its verdicts as they come."""

    port: int
    key: str
    lines: int
    web: psutil.Process
    verdicts: Counter[str] = field(default_factory=Counter)
    rss_mb: dict[str, float] = field(default_factory=dict)
    _last: int = 0

    def send(self) -> dict[str, object]:
        began = time.monotonic()
        with socket.create_connection(("127.0.0.1", self.port)) as connection:
            sending = threading.Thread(target=self._send, args=(connection,))
            sending.start()
            self._read(connection, began)
            sending.join()
        seconds = time.monotonic() - began
        told = sum(self.verdicts.values())
        if told != self.lines:
            raise AssertionError(f"{self.lines} lines, {told} verdicts: {self.verdicts}")
        growth = self.rss_mb["100%"] - self.rss_mb["1%"]
        return {
            "lines": self.lines,
            "verdicts": dict(self.verdicts),
            "seconds": round(seconds, 1),
            "lines_per_second": round(self.lines / seconds),
            "web_rss_mb": self.rss_mb,
            "constant_memory": growth <= MOST_GROWTH_MB,
        }

    def _send(self, connection: socket.socket) -> None:
        head = (
            "POST /v1/orders/batch HTTP/1.1\r\nHost: 127.0.0.1\r\nTransfer-Encoding: chunked\r\n"
            f"Content-Type: application/x-ndjson\r\nAuthorization: Bearer {self.key}\r\n\r\n"
        )
        connection.sendall(head.encode())
        for first in range(0, self.lines, CHUNK_LINES):
            numbers = range(first, min(first + CHUNK_LINES, self.lines))
            part = b"".join(map(_line, numbers))
            connection.sendall(b"%x\r\n%b\r\n" % (len(part), part))
        connection.sendall(b"0\r\n\r\n")

    def _read(self, connection: socket.socket, began: float) -> None:
        """The verdicts must come in the order of their lines, each once."""
        stream = connection.makefile("rb")
        status = stream.readline()
        if b" 200 " not in status:
            raise AssertionError(f"the batch was answered with {status!r}")
        while stream.readline() != b"\r\n":
            pass
        while size := int(stream.readline(), 16):
            self._count(stream.read(size + 2)[:-2], began)

    def _count(self, told: bytes, began: float) -> None:
        """A chunk of the answer has whole lines: the server sends those of one commit at a time."""
        before = self._last
        for number, verdict in _VERDICT.findall(told):
            if int(number) != self._last + 1:
                raise AssertionError(f"a verdict on line {int(number)} after that on {self._last}")
            self._last += 1
            self.verdicts[verdict.decode()] += 1
        for mark in MARKS:
            if before < mark * self.lines <= self._last:
                self.rss_mb[f"{mark:.0%}"] = round(self.web.memory_info().rss / 2**20, 1)
        if self._last * 10 // self.lines > before * 10 // self.lines:
            rate = self._last / (time.monotonic() - began)
            _say(f"{self._last:,} lines, {rate:,.0f}/s; web {self.web.memory_info().rss >> 20} MB")


_TEMPLATE = json.dumps(an_order("@" * 12, (0, 0, 0))).encode() + b"\n"
_HEAD, _REST = _TEMPLATE.split(b"@" * 12)
_PARTS = _REST.split(b"SKU-0000")


def _line(number: int) -> bytes:
    skus = (b"SKU-%04d" % (number * f % SKUS) for f in (7_919, 104_729, 1_299_709))
    rest = b"".join(part + s for part, s in zip(_PARTS, (*skus, b""), strict=True))
    return b"%b%012d%b" % (_HEAD, number, rest)


def _warm_up(deployment: Deployment, port: int, trickle: Trickle) -> None:
    """Everything has been done once: processes are up, statements compiled, pages in memory."""
    while trickle.told < 10 or _unsettled(deployment):
        if trickle.failed:
            raise AssertionError(f"orders of the trickle were refused: {trickle.failed[:3]}")
        time.sleep(0.1)
    _say("up")


def _unsettled(deployment: Deployment) -> int:
    """Orders of the import on their way; all others too, but for the trickle's last."""
    with deployment.database.snapshot() as tx:
        query = text("SELECT coalesce(sum(size), 0) FROM dispatches WHERE lane > 0")
        return int(tx.execute(query).scalar_one())


def _wait_until_settled(deployment: Deployment) -> None:
    deadline = time.monotonic() + LONGEST_REST_SECONDS
    told = time.monotonic()
    while left := _unsettled(deployment):
        if time.monotonic() > deadline:
            raise TimeoutError(f"{left} orders were never settled")
        if time.monotonic() > told + 15:
            _say(f"{left:,} to go")
            told = time.monotonic()
        time.sleep(0.5)


def _require_confirmed(deployment: Deployment, trickle: Trickle) -> None:
    if trickle.failed:
        raise AssertionError(f"{len(trickle.failed)} orders failed: {trickle.failed[:3]}")
    deadline = time.monotonic() + 60
    query = text("SELECT status, reason, count(*) FROM orders GROUP BY 1, 2")
    while True:
        with deployment.database.snapshot() as tx:
            found = tx.execute(query).all()
        if [row.status for row in found] == ["confirmed"]:
            return
        if time.monotonic() > deadline:
            raise AssertionError(f"not all orders were confirmed: {found}")
        time.sleep(0.5)


def _latency(deployment: Deployment, trickle: Trickle, which: range) -> dict[str, float]:
    """Both ends are commit times by the database's clock."""
    query = text(
        "SELECT extract(epoch FROM pg_xact_commit_timestamp(o.xmin)"
        "                        - pg_xact_commit_timestamp(e.xmin)) * 1000"
        " FROM orders o JOIN events e ON e.order_id = o.id AND e.seq = 1 WHERE o.id = ANY(:ids)"
    )
    ids = [trickle.order_ids[n] for n in which]
    with deployment.database.snapshot() as tx:
        samples = [float(row[0]) for row in tx.execute(query, {"ids": ids})]
    return asdict(Latency.of(samples)) | {"orders": len(samples)}


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
