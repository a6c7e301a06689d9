"""One measurement of one contestant: a subprocess, on servers that nobody used before."""

import json
import os
import signal
import subprocess
import sys
from contextlib import suppress
from typing import Any

from benchmarks import peers_venv
from benchmarks.contestants import Contestant
from benchmarks.machine import busy_percent, spin_seconds
from benchmarks.servers import Servers, fresh_servers

LONGEST_SECONDS = 600
TOO_BUSY_PERCENT = 15

Measurement = dict[str, Any]


def measure(contestant: Contestant, what: str, orders: int) -> Measurement:
    """The contestant's own result, and how busy and how fast the machine was just before it."""
    busy, spin = busy_percent(), round(spin_seconds(), 3)
    if busy > TOO_BUSY_PERCENT:
        print(f"Others use {busy:.0f} % of this machine: expect low figures.", file=sys.stderr)
    with fresh_servers() as servers:
        result = _call(contestant, what, orders, servers)
    return {**result, "busy_percent_before": busy, "spin_seconds_before": spin}


def _call(contestant: Contestant, what: str, orders: int, servers: Servers) -> Measurement:
    command = [_interpreter(contestant), "-m", contestant.module, what, "--orders", str(orders)]
    urls = {"DATABASE_URL": servers.database_url, "REDIS_URL": servers.redis_url}
    result: Measurement = json.loads(
        _output(command, {**os.environ, **urls, **contestant.environment}).splitlines()[-1]
    )
    return result


def _output(command: list[str], environment: dict[str, str]) -> str:
    # A session of its own, so that none of its workers outlives it, however the run ends.
    process = subprocess.Popen(
        command,
        env=environment,
        cwd=peers_venv.ROOT,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        output, _ = process.communicate(timeout=LONGEST_SECONDS)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
    if process.returncode != 0:
        raise subprocess.CalledProcessError(process.returncode, command)
    return output


def _interpreter(contestant: Contestant) -> str:
    return str(peers_venv.python()) if contestant.peer else sys.executable
