"""Rule sets as imported: every version stays, the newest of a name prices."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Column, Integer, String, Text, bindparam, func, select

from pipeline.errors import InvalidInput
from pipeline.pricing import zones
from pipeline.pricing.rules import Rules, stored, told
from pipeline.pricing.ruleset import RuleSet
from pipeline.storage.database import Tx
from pipeline.storage.sql import now, pack, rows, texts
from pipeline.storage.tables import pricing_rules as table
from pipeline.storage.upsert import InsertNew


@dataclass(frozen=True, slots=True)
class Version:
    """Rules ready to price by. `number` is None where none of that name was imported: such rules
    are empty."""

    name: str
    number: int | None
    rules: RuleSet
    imported_at: datetime | None = None


_newest_number = (
    select(table.c.name, func.max(table.c.version).label("version"))
    .where(table.c.name.in_(texts("names")))
    .group_by(table.c.name)
    .subquery("newest")
)
_HEAD = select(table.c.name, table.c.version, table.c.digest, table.c.imported_at)
_NEWEST = _HEAD.join(
    _newest_number,
    (table.c.name == _newest_number.c.name) & (table.c.version == _newest_number.c.version),
)
_wanted = rows(table.c.name, table.c.version)
_NUMBERED = _HEAD.join(
    _wanted, (table.c.name == _wanted.c.name) & (table.c.version == _wanted.c.version)
)
_asked = rows(Column("place", Integer), table.c.name, Column("moment", table.c.imported_at.type))
_imported = table.alias("imported")
_imported_by_then = (
    select(_imported.c.version)
    .where(_imported.c.name == _asked.c.name, _imported.c.imported_at <= _asked.c.moment)
    .order_by(_imported.c.imported_at.desc(), _imported.c.version.desc())
    .limit(1)
    .scalar_subquery()
)
_first_of_all = (
    select(func.min(_imported.c.version)).where(_imported.c.name == _asked.c.name).scalar_subquery()
)
_IN_FORCE = (
    _HEAD.add_columns(_asked.c.place)
    .select_from(_asked)
    .join(
        table,
        (table.c.name == _asked.c.name)
        & (table.c.version == func.coalesce(_imported_by_then, _first_of_all)),
    )
)
_BODY = select(table.c.body, table.c.zone).where(
    table.c.name == bindparam("name"), table.c.version == bindparam("version")
)


def newest(tx: Tx, names: Iterable[str]) -> dict[str, Version]:
    """The newest version of each of `names`; empty rules where there is none."""
    known = set(names)
    found = tx.execute(_NEWEST, {"names": pack((name,) for name in sorted(known))})
    by_name = {r.name: _version(tx, r) for r in found.all()}
    return {name: by_name.get(name) or Version(name, None, _NO_RULES) for name in known}


def in_force(
    tx: Tx, wanted: Collection[tuple[str, datetime]]
) -> dict[tuple[str, datetime], Version]:
    """The versions that were the newest at a moment, by (name, moment); where none was there yet,
    the first. Names of which there are no rules are absent."""
    asked = list(wanted)
    found = tx.execute(_IN_FORCE, {"rows": pack((n, *each) for n, each in enumerate(asked))})
    return {asked[r.place]: _version(tx, r) for r in found.all()}


def numbered(tx: Tx, wanted: Collection[tuple[str, int]]) -> dict[tuple[str, int], Version]:
    """Versions by (name, number)."""
    if not wanted:
        return {}
    found = tx.execute(_NUMBERED, {"rows": pack(sorted(wanted))})
    return {(r.name, r.version): _version(tx, r) for r in found.all()}


_NO_RULES = RuleSet(Rules())
_compiled: dict[str, RuleSet] = {}


def _version(tx: Tx, head: Any) -> Version:
    # Every batch asks: compile each body once. What it is called by is its content, so that two
    # databases in one process can't mix theirs up.
    rules = _compiled.get(head.digest)
    if rules is None:
        if len(_compiled) > 100:
            _compiled.clear()
        kept = tx.execute(_BODY, {"name": head.name, "version": head.version}).one()
        rules = _compiled[head.digest] = RuleSet(stored(kept.body), kept.zone)
    return Version(head.name, head.version, rules, head.imported_at)


_given: Any = select(
    bindparam("name", type_=String), bindparam("version", type_=Integer),
    bindparam("digest", type_=String), bindparam("body", type_=Text),
    bindparam("zone", type_=Text), bindparam("imported_by", type_=String), now(),
)  # fmt: skip
_INSERT = InsertNew(
    table,
    ["name", "version", "digest", "body", "zone", "imported_by", "imported_at"],
    _given,
    conflict=["name", "version"],
    returning=[table.c.version],
)


def number(tx: Tx, name: str, rules: Rules) -> tuple[int, bool]:
    """The version that `rules` are, or would be, of `name`; and whether it is new: the same rules
    as the newest are no new version."""
    found = tx.execute(_NEWEST, {"names": pack([(name,)])}).one_or_none()
    if found is None:
        return 1, True
    same = found.digest == _digest(canonical(rules))
    return (found.version, False) if same else (found.version + 1, True)


def add(tx: Tx, name: str, rules: Rules, actor: str) -> int:
    """Make `rules` the newest version of `name`; its number. InvalidInput if another import has
    done so at the same moment."""
    version, is_new = number(tx, name, rules)
    body = canonical(rules)
    row = {"name": name, "version": version, "digest": _digest(body), "body": body}
    row |= {"zone": zones.kept(rules.timezone), "imported_by": actor}
    if is_new and _INSERT(tx, row).one_or_none() is None:
        raise InvalidInput(f"another import made version {version} of {name} just now; try again")
    return version


def _digest(body: str) -> str:
    return hashlib.sha256(body.encode()).hexdigest()


def canonical(rules: Rules) -> str:
    """`rules` as JSON that is the same for the same rules."""
    return json.dumps(
        told(rules), default=datetime.isoformat, sort_keys=True, separators=(",", ":"),
        ensure_ascii=False,
    )  # fmt: skip


_ALL = select(
    table.c.name, table.c.version, table.c.imported_at, table.c.imported_by, table.c.digest
).order_by(table.c.name, table.c.version.desc())


def versions(tx: Tx) -> list[dict[str, Any]]:
    """Every version of every name, the newest first."""
    return [dict(r._mapping) for r in tx.execute(_ALL)]


def read(tx: Tx, name: str, number: int | None = None) -> Rules:
    """The rules of that name, in that version or the newest; InvalidInput if there are none."""
    if number is None:
        found = newest(tx, [name])[name]
    else:
        found = numbered(tx, [(name, number)]).get((name, number)) or Version(name, None, _NO_RULES)
    if found.number is None:
        which = name if number is None else f"{name} version {number}"
        raise InvalidInput(
            f"there are no rules {which}; `ordermill pricing ls` shows those there are, "
            "`ordermill pricing import` brings some in"
        )
    return found.rules.rules
