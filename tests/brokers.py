"""Real brokers, each on free ports and in a folder of its own: redis-server, redis-sentinel and
rabbitmq-server, as apt installs them. They are killed, frozen and restarted by who starts them."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pika
import pytest
import redis
from pika.exceptions import AMQPError

from benchmarks.ports import free_port

#: Seconds that a server has to start, on a machine that is busy.
PATIENCE = 90.0
_RABBITMQ = "/usr/lib/rabbitmq/bin/rabbitmq-server"


def needs(*programs: str) -> None:
    """Skips the test where one of these is not installed."""
    missing = [each for each in programs if shutil.which(each) is None]
    if missing:
        pytest.skip(f"not installed here: {', '.join(missing)}")


def eventually(is_so: Callable[[], object], seconds: float = PATIENCE) -> None:
    """Fails unless it comes true in time; an error of a client means that it isn't yet."""
    give_up = time.monotonic() + seconds
    while True:
        with suppress(redis.RedisError, AMQPError, OSError, AssertionError):
            if is_so():
                return
        if time.monotonic() > give_up:
            raise RuntimeError("it never came to be")
        time.sleep(0.05)


class Server:
    """A process that a test may kill, freeze and start again."""

    def __init__(self, command: list[str], folder: Path, env: dict[str, str] | None = None) -> None:
        self.folder = folder
        self._command = command
        self._env = {**os.environ, **(env or {})}
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                self._command,
                cwd=self.folder,
                env=self._env,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def signal(self, number: int) -> None:
        if self._process is not None:
            with suppress(ProcessLookupError):
                os.killpg(self._process.pid, number)

    def kill(self) -> None:
        self.signal(signal.SIGKILL)
        if self._process is not None:
            self._process.wait()
            self._process = None

    @contextmanager
    def frozen(self) -> Iterator[None]:
        self.signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self.signal(signal.SIGCONT)


class RedisServer(Server):
    """`options` as in redis.conf; `port` 0 is for one that is reached otherwise."""

    def __init__(self, folder: Path, *, port: int | None = None, **options: str) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.port = free_port() if port is None else port
        lines = {"port": str(self.port), "save": '""', "bind": "127.0.0.1", **options}
        config = folder / "redis.conf"
        config.write_text(
            "".join(f"{name.replace('_', '-')} {value}\n" for name, value in lines.items())
        )
        super().__init__(["redis-server", str(config)], folder)

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    @property
    def client(self) -> redis.Redis:
        return redis.Redis(port=self.port, socket_timeout=5)

    def start(self) -> None:
        super().start()
        if self.port:
            eventually(lambda: self.client.ping())


class Sentinels:
    """Two servers and three sentinels, which fail over in about a second."""

    def __init__(self, folder: Path) -> None:
        first = RedisServer(folder / "one", appendonly="yes")
        second = RedisServer(folder / "two", appendonly="yes", replicaof=f"127.0.0.1 {first.port}")
        self.servers = [first, second]
        self.sentinels = [self._sentinel(folder / f"sentinel-{n}") for n in range(3)]

    def _sentinel(self, folder: Path) -> RedisServer:
        sentinel = RedisServer(folder)
        (folder / "redis.conf").write_text(
            f"port {sentinel.port}\nbind 127.0.0.1\ndir {folder}\n"
            f"sentinel monitor mill 127.0.0.1 {self.servers[0].port} 2\n"
            "sentinel down-after-milliseconds mill 1500\n"
            "sentinel failover-timeout mill 3000\n"
        )
        sentinel._command = ["redis-sentinel", str(folder / "redis.conf")]
        return sentinel

    @property
    def url(self) -> str:
        hosts = ",".join(f"127.0.0.1:{each.port}" for each in self.sentinels)
        return f"sentinel://{hosts}/mill"

    def start(self) -> None:
        for each in (*self.servers, *self.sentinels):
            each.start()
        eventually(self._is_whole)

    def _is_whole(self) -> bool:
        told = [each.client.sentinel_master("mill") for each in self.sentinels]
        return all(
            t["num-slaves"] >= 1 and t["num-other-sentinels"] == 2 and t["flags"] == "master"
            for t in told
        )

    def primary(self) -> RedisServer:
        _, port = self.sentinels[0].client.sentinel_get_master_addr_by_name("mill")
        return next(each for each in self.servers if each.port == int(port))

    def fail_over(self) -> None:
        """Kill the primary; wait for the other to be one, and bring the old one back. Which of them is
        the primary then is for the sentinels to say: on a busy machine they may fail over once more."""
        was = self.primary()
        was.kill()
        eventually(
            lambda: self.primary() is not was and self.primary().client.role()[0] == b"master"
        )
        was.start()
        eventually(
            lambda: {each.client.role()[0] for each in self.servers} == {b"master", b"slave"}
        )
        eventually(self._is_whole)

    def stop(self) -> None:
        for each in (*self.sentinels, *self.servers):
            each.kill()


class RabbitmqServer(Server):
    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.port, self._names = free_port(), free_port()
        (folder / "rabbitmq.conf").write_text("loopback_users = none\n")
        super().__init__(
            [_RABBITMQ],
            folder,
            {
                "HOME": str(folder),
                "RABBITMQ_NODENAME": f"mill{self.port}@localhost",
                "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
                "RABBITMQ_NODE_PORT": str(self.port),
                "RABBITMQ_DIST_PORT": str(free_port()),
                "ERL_EPMD_PORT": str(self._names),
                "ERL_EPMD_ADDRESS": "127.0.0.1",
                "RABBITMQ_MNESIA_BASE": str(folder / "mnesia"),
                "RABBITMQ_LOG_BASE": str(folder / "logs"),
                "RABBITMQ_PID_FILE": str(folder / "pid"),
                "RABBITMQ_CONFIG_FILE": str(folder / "rabbitmq"),
                "RABBITMQ_ENABLED_PLUGINS_FILE": str(folder / "enabled_plugins"),
                "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "+S 1:1 +sbwt none",
            },
        )

    @property
    def url(self) -> str:
        return f"amqp://guest:guest@127.0.0.1:{self.port}/%2F"

    def start(self) -> None:
        super().start()
        eventually(self._answers)

    def _answers(self) -> bool:
        pika.BlockingConnection(pika.URLParameters(self.url)).close()
        return True

    def restart(self) -> None:
        """As after a crash."""
        self.kill()
        self.start()

    def stop(self) -> None:
        self.kill()
        # Erlang leaves behind what tells nodes of each other: it is ours, by its port. It goes once it
        # has noticed that its node has.
        end = ["epmd", "-port", str(self._names), "-kill"]
        for _ in range(50):
            if subprocess.run(end, capture_output=True, check=False).returncode == 0:
                return
            time.sleep(0.1)


@contextmanager
def rabbitmq(folder: Path) -> Iterator[RabbitmqServer]:
    needs("rabbitmq-server")
    server = RabbitmqServer(folder)
    server.start()
    try:
        yield server
    finally:
        server.stop()
