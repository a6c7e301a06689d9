"""What happens at the beginning: several bring the schema up at once; a process waits for its database."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import create_engine

from pipeline.storage import postgres
from pipeline.storage.database import Database
from pipeline.storage.schema_version import wanted_schema

#: Each process takes a few seconds to begin, and many more where others keep the machine busy.
pytestmark = pytest.mark.timeout(900)

ORDERMILL = [sys.executable, "-m", "ordermill"]


def environment(home: Path, database_url: str) -> dict[str, str]:
    ours = {k: v for k, v in os.environ.items() if not k.startswith("ORDERMILL_")}
    return {**ours, "ORDERMILL_HOME": str(home), "ORDERMILL_DATABASE_URL": database_url}


@pytest.fixture(params=["sqlite", "postgres"])
def empty_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """A database without a schema."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'new.db'}"
        return
    url = postgres.parse(request.getfixturevalue("postgres_url"))
    server = create_engine(url, isolation_level="AUTOCOMMIT")
    with server.connect() as connection:
        connection.exec_driver_sql("CREATE DATABASE beginning")
    yield url.set(database="beginning").render_as_string(hide_password=False)
    with server.connect() as connection:
        connection.exec_driver_sql("DROP DATABASE beginning WITH (FORCE)")
    server.dispose()


def test_of_three_upgrades_at_once_all_succeed(empty_url: str, tmp_path: Path) -> None:
    settings = environment(tmp_path, empty_url)
    command = [*ORDERMILL, "db", "upgrade"]

    at_once = [subprocess.Popen(command, env=settings, stderr=subprocess.PIPE) for _ in range(3)]
    told = [process.communicate()[1] for process in at_once]

    assert [process.returncode for process in at_once] == [0, 0, 0], told
    database = Database(empty_url)
    assert database.schema_version() == wanted_schema()
    database.close()


def _alone(command: list[str]) -> list[str]:
    """As pid 1, as the only process of a container is; skips where that can't be had."""
    unshare = shutil.which("unshare")
    if unshare is None or subprocess.run([unshare, "--pid", "--fork", "true"]).returncode:
        pytest.skip("needs unshare, and the right to use it")
    return [unshare, "--pid", "--fork", "--kill-child", *command]


@pytest.mark.parametrize(
    ("role", "as_pid_1"),
    [("worker", False), ("worker", True), ("scheduler", True), ("web --port 0", True)],
)
def test_who_waits_for_the_database_says_why_once_and_obeys_sigterm(
    role: str, as_pid_1: bool, tmp_path: Path
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as nobody:
        port = nobody.getsockname()[1]
    url = f"postgresql://u:hush@127.0.0.1:{port}/shop"
    settings = environment(tmp_path, url)
    command = [*ORDERMILL, *role.split()]
    waiting = subprocess.Popen(
        _alone(command) if as_pid_1 else command, env=settings, stderr=subprocess.PIPE, text=True
    )
    assert waiting.stderr is not None
    first = ""
    while "waiting for the database" not in first:
        first = waiting.stderr.readline()
        assert first, "it ended"

    os.kill(_child_of(waiting.pid) if as_pid_1 else waiting.pid, signal.SIGTERM)
    rest = waiting.stderr.read()

    assert waiting.wait() == 143
    assert "refused" in first
    assert "waiting for the database" not in rest
    assert "hush" not in first + rest


def _child_of(pid: int) -> int:
    return int(Path(f"/proc/{pid}/task/{pid}/children").read_text().split()[0])
