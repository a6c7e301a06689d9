"""Sources and their policies."""

from __future__ import annotations

import json
from datetime import datetime

from sqlalchemy import bindparam, inspect, select

from pipeline.errors import UnknownSource
from pipeline.source import Policy, Source
from pipeline.storage.database import Tx
from pipeline.storage.sql import now
from pipeline.storage.tables import sources
from pipeline.storage.upsert import insert_into

_ALL = select(sources.c.id, sources.c.name, sources.c.policy, sources.c.created_at).order_by(
    sources.c.name
)


def all_sources(tx: Tx) -> dict[int, Source]:
    """All sources by id; there are a handful."""
    return {r.id: _source(*r) for r in tx.execute(_ALL)}


def by_name(tx: Tx, name: str) -> Source:
    """The source of that name, or UnknownSource."""
    for source in all_sources(tx).values():
        if source.name == name:
            return source
    raise UnknownSource(name)


def named_gateways(tx: Tx) -> dict[str, str | None]:
    """The gateway that each source's policy names, by the source; in any schema, even in none."""
    if not inspect(tx).has_table(sources.name):
        return {}
    return {r.name: json.loads(r.policy).get("gateway") for r in tx.execute(_ALL)}


_LOCK = (
    select(sources.c.id, sources.c.name, sources.c.policy, sources.c.created_at)
    .where(sources.c.name == bindparam("wanted"))
    .with_for_update()
)


def lock(tx: Tx, name: str) -> Source | None:
    """The source of that name, locked so that its policy can be changed; None if there is none."""
    found = tx.execute(_LOCK, {"wanted": name}).one_or_none()
    return None if found is None else _source(*found)


def put(tx: Tx, name: str, policy: Policy) -> None:
    """Make the source, or replace its policy. Orders already priced keep what they were priced by."""
    body = policy.model_dump_json(exclude_defaults=True)
    row = insert_into(tx, sources).values(name=name, policy=body, created_at=now())
    tx.execute(row.on_conflict_do_update(index_elements=["name"], set_={"policy": body}))


_parsed: dict[tuple[int, str, str, datetime], Source] = {}


def _source(source_id: int, name: str, policy: str, created_at: datetime) -> Source:
    # Every batch asks for all policies: parse each text once. The text is its own key.
    key = (source_id, name, policy, created_at)
    if key not in _parsed:
        if len(_parsed) > 1000:
            _parsed.clear()
        _parsed[key] = Source(
            id=source_id,
            name=name,
            policy=Policy.model_validate_json(policy),
            created_at=created_at,
        )
    return _parsed[key]
