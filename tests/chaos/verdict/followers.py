"""Who follows has been told of all that happened: by the feed once, by webhooks at least once."""

from __future__ import annotations

from collections.abc import Iterator

from tests.chaos.verdict.case import Case

SHOWN = 5


def followers(case: Case) -> Iterator[str]:
    happened = {
        (order_id, event["seq"]): (event["kind"], event["to_status"])
        for order_id, events in case.rows.events.items()
        for event in events
    }
    for name in ("mirror", "received"):
        told = getattr(case, name).keys()
        missing = happened.keys() - told - (case.late if name == "received" else set())
        if missing:
            yield f"{name}: {len(missing)} events were not told: {sorted(missing)[:SHOWN]}"
        if invented := told - happened.keys():
            yield f"{name}: {len(invented)} events are not there: {sorted(invented)[:SHOWN]}"
    for name, told_as in case.mirror.items():
        if name in happened and happened[name] != told_as:
            yield f"event {name} is {happened[name]}, and was told as {told_as}"
