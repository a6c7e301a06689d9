"""Ports of 127.0.0.1 for servers that a test or a benchmark starts."""

from __future__ import annotations

import random
import socket
import subprocess
import time
from contextlib import suppress
from typing import Any

#: Seconds that a process has to listen, on a machine that is busy.
PATIENCE = 600.0


def free_port() -> int:
    """Below those that the system gives to clients: of these, one that is tried again and again while
    its server is away is sooner or later taken by the client itself."""
    while True:
        port = random.randrange(15_000, 32_000)
        with socket.socket() as taken, suppress(OSError):
            taken.bind(("127.0.0.1", port))
            return port


def await_port(port: int, process: subprocess.Popen[Any] | None = None) -> None:
    """Wait until somebody listens there; RuntimeError if `process` ends first, or nobody comes."""
    give_up = time.monotonic() + PATIENCE
    while time.monotonic() < give_up and (process is None or process.poll() is None):
        with suppress(OSError), socket.create_connection(("127.0.0.1", port), 1.0):
            return
        time.sleep(0.05)
    raise RuntimeError(f"nobody listens on port {port}")
