"""What the figures depend on and a reader can't see: the processor, and its speed just then."""

import os
import platform
import time
from collections.abc import Mapping
from pathlib import Path
from statistics import median
from tempfile import TemporaryFile

import psutil

FSYNC_SAMPLES = 100
SPIN = 2_000_000


def describe() -> Mapping[str, str | int | float]:
    return {
        "processor": _processor(),
        "cores": os.cpu_count() or 1,
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.release()}",
        "fsync_ms": round(_fsync_ms(), 3),
    }


def spin_seconds() -> float:
    """How long a fixed piece of Python takes. On shared hosts it varies from minute to minute,
    so it is noted beside each measurement."""
    started = time.perf_counter()
    sum(number * number for number in range(SPIN))
    return time.perf_counter() - started


def busy_percent() -> float:
    """How much of the machine others use while we rest for a second."""
    return psutil.cpu_percent(interval=1)


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor())


def _fsync_ms() -> float:
    """Median time to make one 8 kB page durable, where the servers keep their data."""
    with TemporaryFile() as file:
        return median(_write_durably(file.fileno()) for _ in range(FSYNC_SAMPLES)) * 1000


def _write_durably(descriptor: int) -> float:
    started = time.perf_counter()
    os.write(descriptor, b"\0" * 8192)
    os.fsync(descriptor)
    return time.perf_counter() - started
