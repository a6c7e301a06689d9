"""A host's clock that is wrong: a library that a process is started with shifts what it reads.

libfaketime can't be used: under it `time.sleep` of Python 3.11 and later raises EINVAL, as it takes
the monotonic clock's moments for wall-clock ones. Ours shifts the wall clock alone.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

_SOURCE = r"""
#define _GNU_SOURCE
#include <stdlib.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static long shift(void) {
    const char *given = getenv("CHAOS_CLOCK_SHIFT");
    return given ? atol(given) : 0;
}
int clock_gettime(clockid_t clock, struct timespec *at) {
    int failed = syscall(SYS_clock_gettime, clock, at);
    if (!failed && (clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE))
        at->tv_sec += shift();
    return failed;
}
int gettimeofday(struct timeval *restrict at, void *restrict zone) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    at->tv_sec = now.tv_sec;
    at->tv_usec = now.tv_nsec / 1000;
    return 0;
}
time_t time(time_t *at) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    if (at) *at = now.tv_sec;
    return now.tv_sec;
}
"""


def build(folder: Path) -> Path | None:
    """The library, compiled into `folder`; None where there is no C compiler, or no Linux to run it on."""
    compiler = shutil.which("cc")
    if compiler is None or sys.platform != "linux":
        return None
    built = folder / "shifted_clock.so"
    command = [compiler, "-shared", "-fPIC", "-O1", "-x", "c", "-", "-o", str(built)]
    done = subprocess.run(command, input=_SOURCE.encode(), check=False, capture_output=True)
    return built if done.returncode == 0 else None


def shifted(library: Path, seconds: int) -> dict[str, str]:
    """What a process's environment needs to have its wall clock wrong by so many seconds."""
    return {"LD_PRELOAD": str(library), "CHAOS_CLOCK_SHIFT": str(seconds)}
