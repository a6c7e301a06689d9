"""Sources and their policies."""

from __future__ import annotations

from sqlalchemy import bindparam, insert, select, update

from pipeline.errors import UnknownSource
from pipeline.source import Policy, Source
from pipeline.storage.database import Tx
from pipeline.storage.sql import now
from pipeline.storage.tables import sources

_ALL = select(sources.c.id, sources.c.name, sources.c.policy).order_by(sources.c.name)
_UPDATE = update(sources).where(sources.c.name == bindparam("key")).values(policy=bindparam("body"))
_INSERT = insert(sources).values(created_at=now())


def all_sources(tx: Tx) -> dict[int, Source]:
    """All sources by id; there are a handful."""
    return {r.id: _source(r.id, r.name, r.policy) for r in tx.execute(_ALL)}


def by_name(tx: Tx, name: str) -> Source:
    """The source of that name, or UnknownSource."""
    for source in all_sources(tx).values():
        if source.name == name:
            return source
    raise UnknownSource(name)


def put(tx: Tx, name: str, policy: Policy) -> None:
    """Make the source, or replace its policy. Orders already priced keep what they were priced by."""
    body = policy.model_dump_json(exclude_defaults=True)
    if not tx.execute(_UPDATE, {"key": name, "body": body}).rowcount:
        tx.execute(_INSERT, {"name": name, "policy": body})


_parsed: dict[tuple[int, str, str], Source] = {}


def _source(source_id: int, name: str, policy: str) -> Source:
    # Every batch asks for all policies: parse each text once. The text is its own key.
    key = (source_id, name, policy)
    if key not in _parsed:
        if len(_parsed) > 1000:
            _parsed.clear()
        _parsed[key] = Source(id=source_id, name=name, policy=Policy.model_validate_json(policy))
    return _parsed[key]
