"""What was answered, as it was answered: a line of JSON each. The verdict goes by it."""

from __future__ import annotations

import json
import threading
from pathlib import Path
from typing import Any


class Journal:
    """Written by any number of threads. `entries` has all of it, by kind."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("a")
        self._lock = threading.Lock()
        self._entries: dict[str, list[dict[str, Any]]] = {}

    def write(self, kind: str, **what: Any) -> None:
        with self._lock:
            if self._file.closed:  # a trial that was broken off: nobody judges it
                return
            self._entries.setdefault(kind, []).append(what)
            self._file.write(json.dumps({"kind": kind, **what}) + "\n")
            self._file.flush()

    def of(self, kind: str) -> list[dict[str, Any]]:
        """What was written of a kind until now."""
        with self._lock:
            return list(self._entries.get(kind, ()))

    def wrong(self, what: str) -> None:
        """An answer that must not be: a problem by itself."""
        self.write("wrong", what=what)

    def close(self) -> None:
        with self._lock:
            self._file.close()
