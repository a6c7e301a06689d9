"""Windows of time as people write them: days and moments, in a time zone."""

from __future__ import annotations

from datetime import UTC, date, datetime, time, timedelta, tzinfo
from zoneinfo import ZoneInfo

from pipeline.errors import InvalidInput


def zone(name: str) -> tzinfo:
    """A time zone by its IANA name; InvalidInput if there is none."""
    if name.upper() == "UTC":
        return UTC
    try:
        return ZoneInfo(name)
    except (LookupError, OSError, ValueError):
        raise InvalidInput(f"there is no time zone {name!r}; one is Europe/Berlin") from None


def moment(written: str, within: tzinfo = UTC) -> datetime:
    """A date (its beginning) or a time, as ISO 8601; without an offset it is meant in `within`."""
    try:
        read = datetime.fromisoformat(written)
    except ValueError:
        raise InvalidInput(
            f"{written!r} is no time; expected 2026-11-22, or 2026-11-22T10:30, perhaps with an offset"
        ) from None
    return (read if read.tzinfo else read.replace(tzinfo=within)).astimezone(UTC)


def day(written: str, within: tzinfo = UTC) -> tuple[datetime, datetime]:
    """The day of a date, as [since, until): 23 or 25 hours where the clocks change."""
    try:
        its = date.fromisoformat(written)
    except ValueError:
        raise InvalidInput(f"{written!r} is no day; expected one such as 2026-11-22") from None
    return _midnight(its, within), _midnight(its + timedelta(days=1), within)


def _midnight(of: date, within: tzinfo) -> datetime:
    return datetime.combine(of, time(), within).astimezone(UTC)
