"""Whether customers wait at a till just now: what else a process does gives way to them. Intake and
engine each see their own."""

from __future__ import annotations

import time

#: Seconds after a shopper's order for which others are expected.
SHOPPING_SECONDS = 5.0
#: Bulk orders that are taken at once meanwhile: a step that has begun is waited for, so it must not
#: be long. Intake makes dispatches of the lane bulk of this size, as a dispatch is not cut.
PORTION = 150


class Shoppers:
    """Of one process; call from any thread."""

    def __init__(self) -> None:
        self._last = -SHOPPING_SECONDS

    def came(self) -> None:
        """An interactive order was seen."""
        self._last = time.monotonic()

    @property
    def expected(self) -> bool:
        """Whether one came within the last seconds, so that others are likely to."""
        return time.monotonic() - self._last < SHOPPING_SECONDS
