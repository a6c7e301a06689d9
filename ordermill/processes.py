"""The processes: worker, scheduler, web, and `up` with all of them in one."""

from __future__ import annotations

import gc
import signal
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol

import uvicorn
from dramatiq import Broker

from pipeline.assembly import DATABASE_PATIENCE, assemble
from pipeline.errors import ConfigurationError
from pipeline.opening import open_database
from pipeline.presence import Presence
from pipeline.settings import Settings
from pipeline.telemetry import tracing
from pipeline.telemetry.metrics import Exposition, exposed
from scheduler.process import SchedulerProcess
from scheduler.table import JOBS
from web.app import create_app
from web.door import Door, serving
from workers.announcer import BrokerAnnouncer, PatientAnnouncer
from workers.broker import make_broker
from workers.process import WorkerProcess


class Process(Protocol):
    def start(self) -> None: ...
    def stop(self) -> None: ...


#: Seconds after which a thread that computes makes way for another, of which Python runs one at a
#: time. An order's way through the stages waits some sixty times for the database, and gets the
#: interpreter back that much later each time, if another thread is busy with an import.
SWITCH_SECONDS = 0.0005


@contextmanager
def observed(settings: Settings, role: str, exposition: Exposition | None = None) -> Iterator[None]:
    """While the block runs, this process traces, and tells its metrics, as the settings say."""
    with tracing.configured(role), exposed(settings, exposition):
        yield


def run_until_signalled(process: Process) -> None:
    """Start; on SIGTERM or Ctrl-C finish what is in hand and stop."""
    sys.setswitchinterval(SWITCH_SECONDS)
    told = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: told.set())
    process.start()
    _keep_what_was_loaded()
    try:
        told.wait()
    finally:
        process.stop()


def _keep_what_was_loaded() -> None:
    """Take what was loaded out of the collector's sight: it stays to the end, and these 200,000
    objects take a quarter of a second to look through, during which no thread of a process runs."""
    gc.freeze()


class PortTaken(ConfigurationError):
    """Somebody else listens there."""


def _listen(host: str, port: int) -> socket.socket:
    """A socket on that address; PortTaken says why there is none."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listening = socket.create_server((host, port), family=family)
    except OSError as error:
        raise PortTaken(
            f"can't listen on {host}, port {port}: {error.strerror}; see --host and --port"
        ) from None
    # Those that it accepts inherit it. asyncio sets it on sockets of its own making only; without it
    # an answer's body waits until its head is acknowledged, which a client puts off for 40 ms.
    listening.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return listening


#: Seconds that requests in hand have to be answered, once the process is to stop.
LAST_ANSWERS = 30


class WebProcess:
    """Serves HTTP on `host` and `port`; on `stop` requests in hand are answered first."""

    def __init__(
        self, settings: Settings, host: str, port: int, broker: Broker | None = None
    ) -> None:
        broker = broker or make_broker(settings.broker_url, [])
        announcer = self._announcer = PatientAnnouncer(BrokerAnnouncer(broker))
        listening = _listen(host, port)
        self.app = assemble(settings, announcer, patience=DATABASE_PATIENCE, role="web")
        self._asgi = create_app(self.app, JOBS)
        protocol = serving()
        config = uvicorn.Config(
            Door(self._asgi, settings.proxies, protocol),
            http=protocol,
            ws="none",
            proxy_headers=False,  # the door reads them
            log_config=None,  # ours stands, and redacts
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=LAST_ANSWERS,
        )
        self._server = uvicorn.Server(config)
        # In a thread of its own it leaves the signals to us.
        self._thread = threading.Thread(target=self._server.run, args=([listening],), name="http")
        self._presence = Presence(self.app.database, "web", gateways=self.app.gateways)

    @property
    def exposition(self) -> Exposition:
        """What `/metrics` tells."""
        found: Exposition = self._asgi.state.exposition
        return found

    def start(self) -> None:
        self._presence.start()
        self._thread.start()

    def stop(self) -> None:
        self._asgi.state.live.stop()  # a stream has no end of its own
        self._server.should_exit = True
        self._thread.join()
        self._announcer.close()
        self._presence.stop()
        self.app.close()


class Everything:
    """Worker, scheduler and (with a `port`) web in this process, on a broker that only they see."""

    def __init__(self, settings: Settings, port: int | None = None) -> None:
        broker = make_broker(settings.broker_url, [])
        web = [] if port is None else [WebProcess(settings, "127.0.0.1", port, broker)]
        self.exposition = web[0].exposition if web else None
        self.worker = WorkerProcess(settings, broker)
        self.parts: list[Process] = [*web, self.worker, SchedulerProcess(settings, broker)]

    def start(self) -> None:
        for part in self.parts:
            part.start()

    def stop(self) -> None:
        for part in reversed(self.parts):
            part.stop()


def upgrade_embedded(settings: Settings) -> None:
    """The embedded home has no deployment step: its schema is brought up here."""
    database = open_database(settings)
    if database.is_sqlite:
        database.upgrade()
    database.close()


@contextmanager
def running(process: Process) -> Iterator[None]:
    process.start()
    try:
        yield
    finally:
        process.stop()
