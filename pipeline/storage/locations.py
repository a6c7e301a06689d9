"""Locations: where units are, and which goes first."""

from __future__ import annotations

import json

from sqlalchemy import select

from pipeline.inventory.allocation import Place
from pipeline.storage.database import Tx
from pipeline.storage.tables import locations
from pipeline.storage.upsert import upsert

_ALL = select(locations).order_by(locations.c.name)


def all_places(tx: Tx) -> dict[str, Place]:
    """The locations that somebody has described, by name; there are a handful."""
    return {
        r.name: Place(
            r.country or "",
            r.priority,
            None if r.serves is None else frozenset(json.loads(r.serves)),
        )
        for r in tx.execute(_ALL)
    }


def put(tx: Tx, name: str, place: Place) -> None:
    """Describe a location, or replace what was said of it. Reservations that stand are kept."""
    serves = None if place.serves is None else json.dumps(sorted(place.serves))
    row = (name, place.country or None, place.priority, serves)
    upsert(tx, locations, list(locations.c), [row])
