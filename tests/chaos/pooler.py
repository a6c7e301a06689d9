"""A pgbouncer of one's own, before the Postgres at a URL."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from sqlalchemy import URL

from benchmarks.ports import await_port, free_port
from pipeline.storage import postgres

_SETTINGS = """
[databases]
* = {server}

[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = any
pool_mode = {mode}
default_pool_size = {size}
max_client_conn = 500
server_login_retry = 0.5
logfile = {folder}/log
pidfile = {folder}/pid
"""


def is_installed() -> bool:
    return shutil.which("pgbouncer") is not None


@contextmanager
def pooler(url: str, *, mode: str = "transaction", size: int = 20) -> Iterator[str]:
    """Yield the URL that leads through it: `size` connections to the server for all who come."""
    folder = Path(tempfile.mkdtemp(prefix="pooler-"))
    port = free_port()
    parsed = postgres.parse(url)
    (folder / "ini").write_text(
        _SETTINGS.format(server=_server(url), port=port, mode=mode, size=size, folder=folder)
    )
    process = subprocess.Popen(
        ["pgbouncer", "-q", *_not_as_root(folder, parsed), str(folder / "ini")],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        await_port(port, process)
        through = parsed.set(host="127.0.0.1", port=port, query={"sslmode": "disable"})
        yield through.set(drivername="postgresql").render_as_string(hide_password=False)
    finally:
        process.kill()  # which signal means "at once" depends on its version
        process.wait()
        shutil.rmtree(folder)


def _server(url: str) -> str:
    """Where the server is, in pgbouncer's words: a folder of a socket, or a host; and who we are."""
    parsed = postgres.parse(url)
    [host] = postgres.hosts(parsed)
    port = parsed.port or parsed.query.get("port") or 5432
    password = f" password={parsed.password}" if parsed.password else ""
    return f"host={host} port={port} user={parsed.username or 'postgres'}{password}"


def _not_as_root(folder: Path, url: URL) -> list[str]:
    """It refuses to be root. Whoever owns the server's socket gets there."""
    if os.geteuid() != 0:
        return []
    [host] = postgres.hosts(url)
    who = pwd.getpwuid(os.stat(host).st_uid) if host.startswith("/") else pwd.getpwnam("nobody")
    os.chown(folder, who.pw_uid, who.pw_gid)
    return ["-u", who.pw_name]
