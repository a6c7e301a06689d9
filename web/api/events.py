"""The feed: everything that happens to a source's orders, in one order, from wherever one was."""

from __future__ import annotations

from datetime import UTC, datetime

from pipeline.storage import feed
from pipeline.storage.feed import Position
from web.api.models import LARGEST, Most, Next, Since
from web.api.shapes import Feed, FeedEvent
from web.callers import Reader
from web.cursors import cursor, foreign, position
from web.routing import router_of

router = router_of("events")

_FIRST = Position(datetime(1970, 1, 1, tzinfo=UTC))


@router.get("/events", operation_id="listEvents", response_model=Feed)
def ls(caller: Reader, after: Next = None, since: Since = None, limit: Most = 100) -> Feed:
    """Read on from a cursor (or begin at `since`), the oldest first. Nothing is skipped, however late it was
    committed; what is being written may hold the newest back for a moment. A page may be empty
    while there is `more`."""
    begin = _FIRST if since is None else Position(since)
    page = feed.read(
        caller.app.database, _position(after) if after else begin, caller.source_id, limit
    )
    end = page.end
    return Feed(
        items=[FeedEvent(**event) for event in page.events],
        next=cursor(end.at.isoformat(), end.order_id, end.seq),
        more=page.more,
        held_back=int(page.held_back),
    )


def _position(given: str) -> Position:
    at, order_id, seq = position(given, str, int, int)
    try:
        moment = datetime.fromisoformat(at)
        if moment.tzinfo is None or not (0 <= order_id <= LARGEST and 0 <= seq < 2**31):
            raise ValueError
        return Position(moment.astimezone(UTC), order_id, seq)
    except (ValueError, OverflowError):
        raise foreign(given) from None
