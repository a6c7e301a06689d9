"""localstripe as a process of its own, on a port of its own."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

# As its own command does, but for two things: it takes any port that is free, and doesn't keep
# its store in /tmp, where others that run at the same time would write theirs.
_SERVER = """
import socket
from aiohttp import web
from localstripe import resources, server

resources.Store.dump_to_disk = lambda self: None
listener = socket.create_server(("127.0.0.1", 0))
print(listener.getsockname()[1], flush=True)
web.run_app(server.app, sock=listener, print=None, access_log=None)
"""


@contextmanager
def localstripe() -> Iterator[str]:
    """Its URL."""
    server = subprocess.Popen(
        [sys.executable, "-c", _SERVER],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        assert server.stdout is not None
        yield f"http://127.0.0.1:{int(server.stdout.readline())}"
    finally:
        server.kill()
        server.wait()
