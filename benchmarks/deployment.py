"""A shop as it is deployed: the Procfile's processes, each one of its own, on fresh servers."""

from __future__ import annotations

import http.client
import os
import shlex
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.assortment import stock_up
from benchmarks.ours import RULES, SKUS
from benchmarks.servers import Servers, fresh_servers
from pipeline import access
from pipeline.pricing.rules import Rules
from pipeline.source import Policy
from pipeline.storage import rules, sources
from pipeline.storage.database import Database

ROOT = Path(__file__).parents[1]
READY_WITHIN_SECONDS = 60.0
#: Requests a second that a key of ours may make: more than there will be.
RATE = 1_000_000


@dataclass
class Deployment:
    """Processes by the Procfile's names. `database` is the driver's own view of their database."""

    database: Database
    environment: Mapping[str, str]
    running: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def start(self, role: str, *options: str) -> subprocess.Popen[bytes]:
        """What the Procfile says, by this interpreter."""
        lines = (ROOT / "Procfile").read_text().splitlines()
        program, *words = shlex.split(dict(line.split(": ", 1) for line in lines)[role])
        return self.run(program, *words, *options)

    def run(self, module: str, *options: str) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", module, *options]
        started = subprocess.Popen(
            command, cwd=ROOT, env={**os.environ, **self.environment}, stdout=subprocess.DEVNULL
        )
        self.running.append(started)
        return started

    def stop(self, process: subprocess.Popen[bytes]) -> None:
        process.terminate()
        process.wait()
        self.running.remove(process)

    def kill(self, process: subprocess.Popen[bytes]) -> None:
        """As by -9: nothing is finished, nobody is told."""
        process.kill()
        process.wait()
        self.running.remove(process)

    def key(self, source: str) -> str:
        with self.database.transaction() as tx:
            return access.create(tx, source, "benchmark", source=source, rate=RATE)


@contextmanager
def deployed(*names: str) -> Iterator[Deployment]:
    """A stocked shop with sources of these `names`, and nothing running yet. The gateway answers at
    once from memory and nobody is written to, as for the peers."""
    with ExitStack() as stack:
        home = stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-home-"))
        servers = stack.enter_context(fresh_servers())
        database = Database(servers.database_url)
        stack.callback(database.close)
        _stock(database, names)
        deployment = Deployment(database, _environment(servers, home))
        try:
            yield deployment
        finally:
            for process in reversed(deployment.running):
                process.terminate()
            for process in deployment.running:
                process.wait()


def _environment(servers: Servers, home: str) -> dict[str, str]:
    return {
        "ORDERMILL_HOME": home,
        "ORDERMILL_DATABASE_URL": servers.database_url,
        "ORDERMILL_BROKER_URL": servers.redis_url,
        "ORDERMILL_WEBHOOK_SECRET": "the secret of a benchmark, and none",
        "ORDERMILL_SANDBOX_BOOK": "memory",
        "ORDERMILL_LOG_LEVEL": "WARNING",
    }


def _stock(database: Database, names: Sequence[str]) -> None:
    database.upgrade()
    with database.transaction() as tx:
        rules.add(tx, "default", Rules.model_validate(RULES), "benchmark")
        for name in names:
            sources.put(tx, name, Policy(gateway="sandbox", price_policy="as_sold", email=False))
    stock_up(database, SKUS)


def wait_until_ready(port: int) -> None:
    deadline = time.monotonic() + READY_WITHIN_SECONDS
    while not _is_ready(port):
        if time.monotonic() > deadline:
            raise TimeoutError(f"nobody serves port {port}")
        time.sleep(0.1)


def _is_ready(port: int) -> bool:
    try:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
        connection.request("GET", "/readyz")
        return connection.getresponse().status == 200
    except OSError:
        return False
