"""Lets one batch be worked on while this process does nothing else: a death then is its own."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager


class Solitude:
    """Any number `among_others`, or one `alone`; who waits to be alone lets no others begin."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._busy = 0
        self._wanted = 0
        self._alone = False

    @contextmanager
    def among_others(self) -> Iterator[None]:
        with self._changed:
            self._changed.wait_for(lambda: not self._alone and not self._wanted)
            self._busy += 1
        try:
            yield
        finally:
            with self._changed:
                self._busy -= 1
                self._changed.notify_all()

    @contextmanager
    def alone(self, patience: float) -> Iterator[bool]:
        """Yields whether it came to it within `patience` seconds: another may hang."""
        with self._changed:
            self._wanted += 1
            won = self._changed.wait_for(lambda: not self._alone and not self._busy, patience)
            self._wanted -= 1
            self._alone = self._alone or won
            self._changed.notify_all()
        try:
            yield won
        finally:
            if won:
                with self._changed:
                    self._alone = False
                    self._changed.notify_all()
