"""What the processes are made of."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

from benchmarks.ports import await_port, free_port
from ordermill.processes import _listen


def test_an_answer_is_sent_at_once_though_it_is_written_in_two_pieces() -> None:
    with (
        _listen("127.0.0.1", 0) as listening,
        socket.create_connection(listening.getsockname()),
    ):
        accepted, _ = listening.accept()

    with accepted:
        assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) != 0


@pytest.mark.timeout(300)
def test_it_comes_up_and_serves_though_the_disk_that_it_is_logged_to_is_full(
    tmp_path: Path,
) -> None:
    port = free_port()
    environment = {**os.environ, "ORDERMILL_HOME": str(tmp_path)}
    with (
        Path("/dev/full").open("w") as full,
        subprocess.Popen(
            [sys.executable, "-m", "ordermill", "up", "--port", str(port)],
            env=environment, stdout=full, stderr=full,
        ) as process,
    ):  # fmt: skip
        try:
            await_port(port, process)
            assert httpx.get(f"http://127.0.0.1:{port}/healthz").status_code == 200
            assert process.poll() is None
        finally:
            process.terminate()
