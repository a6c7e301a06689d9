"""When a rule is valid: from a moment on, and until another, which is not part of it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from zoneinfo import ZoneInfo


@dataclass(frozen=True, slots=True)
class Period:
    """[start, end), in UTC; None is no bound."""

    start: datetime | None
    end: datetime | None

    @classmethod
    def of(cls, start: datetime | None, end: datetime | None, zone: ZoneInfo) -> Period:
        """Times without a zone are meant in `zone`."""
        return cls(_utc(start, zone), _utc(end, zone))

    @property
    def is_empty(self) -> bool:
        """Whether no moment is in it."""
        return self.start is not None and self.end is not None and self.end <= self.start

    def __contains__(self, at: datetime) -> bool:
        if self.start is not None and at < self.start:
            return False
        return self.end is None or at < self.end


def _utc(at: datetime | None, zone: ZoneInfo) -> datetime | None:
    if at is None:
        return None
    try:
        return (at if at.tzinfo else at.replace(tzinfo=zone)).astimezone(UTC)
    except OverflowError:  # "9999-12-31", for ever, in a zone west of Greenwich; or the first day
        return (datetime.min if at.year == 1 else datetime.max).replace(tzinfo=UTC)
