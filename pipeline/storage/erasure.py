"""Erasing who ordered: in the tables and in the archive, as pipeline.erasure says."""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, bindparam, case, exists, func, null, or_, select, update

from pipeline.erasure import ERASED, forget_person
from pipeline.event_kind import EventKind
from pipeline.notifications.message import IMPERSONAL
from pipeline.order import ENDED
from pipeline.storage import archive, clock, coupons, orders, refusals
from pipeline.storage.archive import Contents
from pipeline.storage.database import Tx
from pipeline.storage.orders import Note
from pipeline.storage.selection import Selection, where
from pipeline.storage.sources import all_sources
from pipeline.storage.sql import UtcDateTime, ids, pack, rows, texts
from pipeline.storage.tables import (
    archived_orders,
    events,
    job_runs,
    notifications,
    order_documents,
    returns,
    shipments,
)
from pipeline.storage.tables import orders as live
from pipeline.storage.tables import refusals as refused
from pipeline.typed import is_digits

#: Where it says who ordered; the archive has all of them in the row's body.
_PERSONAL = (order_documents, events, notifications)


@dataclass(slots=True)
class Erased:
    """What became of the orders that were asked for: `erased` now, already so, `refused` as they
    are not settled, `unknown`. `mails` are the notifications that went to customers, `emails` the
    addresses; `external_ids` are what sources call the orders that were erased."""

    erased: list[int] = field(default_factory=list)
    already: list[int] = field(default_factory=list)
    refused: list[int] = field(default_factory=list)
    unknown: list[int] = field(default_factory=list)
    mails: list[str] = field(default_factory=list)
    emails: set[str] = field(default_factory=set)
    external_ids: set[str] = field(default_factory=set)


def orders_of(tx: Tx, email: str) -> list[int]:
    """The orders, live and archived, of whoever has this address."""
    wanted = Selection(email=email)
    return sorted(
        order_id
        for table in (live, archived_orders)
        for order_id in tx.execute(select(table.c.id).where(where(wanted, table))).scalars()
    )


def erase(tx: Tx, order_ids: Iterable[int], actor: str, *, dry_run: bool = False) -> Erased:
    """Forget who ordered these, where they are settled. Twice is once."""
    wanted, done = set(order_ids), Erased()
    found = orders.lock_live(tx, wanted)
    archived = {row.id: row for row in archive.lock(tx, wanted - found.keys())}
    done.unknown = sorted(wanted - found.keys() - archived.keys())
    done.refused = [i for i, row in found.items() if row.status not in ENDED]
    loaded = _load(tx, [i for i, row in found.items() if row.status in ENDED])
    was = {i: contents["order_documents"][0]["erased_at"] for i, contents in loaded.items()}
    was |= {i: row.erased_at for i, row in archived.items()}
    done.already = sorted(i for i, at in was.items() if at is not None)
    done.erased = sorted(i for i, at in was.items() if at is None)
    if dry_run or not done.erased:
        return done
    at = clock.read(tx)
    loaded = {i: contents for i, contents in loaded.items() if was[i] is None}
    boxed = {i: json.loads(row.body) for i, row in archived.items() if was[i] is None}
    for contents in (*loaded.values(), *boxed.values()):
        told = contents.get("notifications") or ()
        mails = [n for n in told if n["channel"] not in IMPERSONAL]
        done.mails += [mail["id"] for mail in mails]
        done.emails |= {mail["target"] for mail in mails}
        email = json.loads(contents["order_documents"][0]["body"])["customer"].get("email")
        done.emails |= {email} if email else set()
        forget_person(contents, at.isoformat())
    keys = [(row.source_id, row.external_id) for i, row in (found | archived).items() if i in was]
    _write_live(tx, loaded, actor)
    _write_archived(tx, boxed, actor, at)
    for statement in _OF_GOODS:
        tx.execute(statement, {"ids": pack(done.erased)})
    coupons.forget_customers(tx, done.erased)
    names = {i: source.name for i, source in all_sources(tx).items()}
    refusals.erase(tx, [(names[source_id], external_id) for source_id, external_id in keys])
    done.external_ids = {external_id for _, external_id in keys}
    return done


# With these a parcel is followed to somebody's door; and people type what they like.
_OF_GOODS = (
    update(shipments).where(shipments.c.order_id.in_(ids())).values(tracking=null()),
    update(returns)
    .where(returns.c.order_id.in_(ids()), returns.c.reason.is_not(None))
    .values(reason=ERASED),
)


def _load(tx: Tx, order_ids: Collection[int]) -> dict[int, Contents]:
    """The rows of live orders that say who ordered, by order."""
    found: dict[int, Contents] = {i: defaultdict(list) for i in order_ids}
    for table in _PERSONAL:
        for row in tx.execute(
            select(table).where(table.c.order_id.in_(ids())), {"ids": pack(found)}
        ):
            found[row.order_id][table.name].append(dict(row._mapping))
    return found


_document = rows(
    order_documents.c.order_id,
    order_documents.c.body,
    order_documents.c.decided,
    order_documents.c.vat_check,
    order_documents.c.erased_at,
)
_event = rows(events.c.order_id, events.c.seq, events.c.reason, events.c.detail)
_notification = rows(
    notifications.c.id, notifications.c.target, notifications.c.state, notifications.c.error
)
_WRITE = {
    "order_documents": update(order_documents)
    .where(order_documents.c.order_id == _document.c.order_id)
    .values(
        body=_document.c.body,
        decided=_document.c.decided,
        vat_check=_document.c.vat_check,
        customer=null(),
        email_key=null(),
        erased_at=_document.c.erased_at,
    ),
    "events": update(events)
    .where(events.c.order_id == _event.c.order_id, events.c.seq == _event.c.seq)
    .values(reason=_event.c.reason, detail=_event.c.detail),
    "notifications": update(notifications)
    .where(notifications.c.id == _notification.c.id)
    .values(
        target=_notification.c.target, state=_notification.c.state, error=_notification.c.error
    ),
}
_FIELDS = {
    "order_documents": _document.c.keys(),
    "events": _event.c.keys(),
    "notifications": _notification.c.keys(),
}


def _write_live(tx: Tx, loaded: dict[int, Contents], actor: str) -> None:
    for name, statement in _WRITE.items():
        changed = [row for contents in loaded.values() for row in contents[name]]
        given = pack(tuple(row[field] for field in _FIELDS[name]) for row in changed)
        tx.execute(statement, {"rows": given})
    orders.note(tx, [Note(i, EventKind.ERASED) for i in sorted(loaded)], actor)


_body = rows(archived_orders.c.id, archived_orders.c.body, archived_orders.c.erased_at)
_WRITE_BODY = (
    update(archived_orders)
    .where(archived_orders.c.id == _body.c.id)
    .values(body=_body.c.body, customer=null(), email_key=null(), erased_at=_body.c.erased_at)
)


def _write_archived(tx: Tx, boxed: dict[int, Contents], actor: str, at: datetime) -> None:
    for contents in boxed.values():
        archive.append(contents, EventKind.ERASED, actor, at)
    given = pack(
        (i, json.dumps(contents, ensure_ascii=False), at.isoformat())
        for i, contents in boxed.items()
    )
    tx.execute(_WRITE_BODY, {"rows": given})


_UNERASED = (
    select(archived_orders.c.id)
    .where(
        archived_orders.c.source_id == bindparam("source_id"),
        archived_orders.c.settled_at < bindparam("cutoff", type_=UtcDateTime),
        archived_orders.c.erased_at.is_(None),
    )
    .order_by(archived_orders.c.settled_at)
    .limit(bindparam("most"))
)


def archived_unerased(tx: Tx, source_id: int, cutoff: datetime, most: int) -> list[int]:
    """Archived orders of a source, settled before `cutoff`, that still say who ordered."""
    within = {"source_id": source_id, "cutoff": cutoff, "most": most}
    return list(tx.execute(_UNERASED, within).scalars())


def _mentions(text: ColumnElement[str | None]) -> ColumnElement[bool]:
    said = texts("said").subquery()
    return exists(select(1).where(func.lower(text).like(said.c.text, escape="\\")))


def _anywhere(said: str) -> str:
    """A pattern that fits whatever has it in it."""
    escaped = re.sub(r"([\\%_])", r"\\\1", said.lower())
    return f"%{escaped}%"


#: A shorter id, or one of digits, also stands where it means something else.
_TELLING = 6


def _naming(external_id: str) -> list[str]:
    """Patterns that fit a message which names an order: JSON, mostly, that may stand in JSON."""
    if len(external_id) >= _TELLING and not is_digits(external_id):
        return [_anywhere(external_id)]
    numbers = [f'"external_id":{gap}{external_id}{end}' for gap in ("", " ") for end in ",}"]
    quoted = [f'"{external_id}"', f"'{external_id}'", f'\\"{external_id}\\"']
    return [_anywhere(each) for each in (*quoted, *numbers)]


def _if_any(message: ColumnElement[str | None]) -> ColumnElement[Any]:
    return case((message.is_not(None), ERASED))


_ERASE_REFUSALS = (
    update(refused)
    .where(or_(_mentions(refused.c.problems), _mentions(refused.c.message)))
    .values(problems=pack([ERASED]), message=_if_any(refused.c.message))
)
_ERASE_MESSAGES = (
    update(refused).where(_mentions(refused.c.message)).values(message=_if_any(refused.c.message))
)
_ERASE_LOGS = (
    update(job_runs)
    .where(or_(_mentions(job_runs.c.log), _mentions(job_runs.c.error)))
    .values(log=ERASED, error=case((job_runs.c.error.is_not(None), ERASED)))
)


def erase_mentions(tx: Tx, emails: Iterable[str], external_ids: Iterable[str] = ()) -> None:
    """Forget addresses where no order is named: in what intake refused, and in what jobs logged. Of
    messages that can't be read those go, too, that name one of these orders. Reads all of that: logs
    are kept for thirty days, such messages for seven."""
    said = {"said": pack((_anywhere(email),) for email in emails)}
    named = [(pattern,) for each in external_ids for pattern in _naming(each)]
    tx.execute(_ERASE_REFUSALS, said)
    tx.execute(_ERASE_MESSAGES, {"said": pack(named)})
    tx.execute(_ERASE_LOGS, said)
