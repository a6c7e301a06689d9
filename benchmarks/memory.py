"""Peak memory of a set of processes and all their descendants."""

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import psutil

SAMPLE_EVERY_SECONDS = 0.2


class PeakMemory:
    """Remembers the highest resident size seen of each process, by pid."""

    def __init__(self, roots: Sequence[int]) -> None:
        self._roots = roots
        self._peaks: dict[int, int] = {}

    def sample(self) -> None:
        for root in self._roots:
            for process in _family(root):
                self._note(process)

    def total_mb(self) -> float:
        return round(sum(self._peaks.values()) / 2**20, 1)

    def _note(self, process: psutil.Process) -> None:
        try:
            size = process.memory_info().rss
        except psutil.NoSuchProcess:
            return
        self._peaks[process.pid] = max(size, self._peaks.get(process.pid, 0))


def _family(pid: int) -> list[psutil.Process]:
    try:
        root = psutil.Process(pid)
        return [root, *root.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


@contextmanager
def peak_memory(roots: Sequence[int]) -> Iterator[PeakMemory]:
    """Sample the families of `roots` in the background until the block ends."""
    peaks = PeakMemory(roots)
    stop = threading.Event()

    def keep_sampling() -> None:
        while not stop.wait(SAMPLE_EVERY_SECONDS):
            peaks.sample()

    sampler = threading.Thread(target=keep_sampling, daemon=True)
    sampler.start()
    try:
        yield peaks
    finally:
        stop.set()
        sampler.join()
