"""How long a price may take to be worked out, where whoever asks isn't owed one at any cost."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from pipeline.errors import InvalidInput

_until: ContextVar[float | None] = ContextVar("until", default=None)


class TakesTooLong(InvalidInput):
    """More lines, or more promotions for each, than there is time for."""


@contextmanager
def of_seconds(cpu: float) -> Iterator[None]:
    """Within the block this thread may compute for so long; then `spend` raises TakesTooLong."""
    token = _until.set(time.thread_time() + cpu)
    try:
        yield
    except TakesTooLong:
        raise TakesTooLong(
            f"lines: it takes more than {cpu:g} seconds to price them by these rules; ask for fewer"
        ) from None
    finally:
        _until.reset(token)


def spend() -> None:
    """Ask whether there is time left. Where no budget was set there always is."""
    until = _until.get()
    if until is not None and time.thread_time() > until:
        raise TakesTooLong
