"""The operators' log: who did what, when, and what came of it. Written with what was done, or not.

It is kept for ever, so secrets and addresses don't get in, whoever typed them: e-mails are masked,
and of a URL all but the host, as what comes after it may be a token.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, Literal

from sqlalchemy import bindparam, select, update

from pipeline.redaction import HIDDEN, redact
from pipeline.storage.database import Tx
from pipeline.storage.sql import now
from pipeline.storage.tables import operators_log as log

#: `under_way`: it takes more than one transaction, and has not come to its end (yet).
Outcome = Literal["done", "refused", "under_way", "failed"]

_ONE = select(log).where(log.c.id == bindparam("of_id"))
_PAGE = select(log).order_by(log.c.id.desc()).limit(bindparam("most"))


def add(
    tx: Tx,
    operator: str,
    action: str,
    target: object = None,
    detail: Mapping[str, Any] | None = None,
    outcome: Outcome = "done",
) -> int:
    """Write an entry; its number."""
    statement = log.insert().values(
        at=now(), operator=operator, action=action, outcome=outcome,
        target=None if target is None else _fit(str(target))[:128], detail=_told(detail),
    )  # fmt: skip
    return int(tx.execute(statement.returning(log.c.id)).scalar_one())


def progress(tx: Tx, entry: int, detail: Mapping[str, Any], outcome: Outcome) -> None:
    """How far it has come, or how it ended."""
    tx.execute(update(log).where(log.c.id == entry).values(detail=_told(detail), outcome=outcome))


def page(
    tx: Tx, most: int, *, before: int | None = None, operator: str | None = None,
    action: str | None = None, target: str | None = None,
) -> list[dict[str, Any]]:  # fmt: skip
    """Entries, the newest first; `before` a number continues an earlier page."""
    query = _PAGE if before is None else _PAGE.where(log.c.id < before)
    for name, value in (("operator", operator), ("action", action), ("target", target)):
        if value:
            query = query.where(log.c[name] == value)
    return [_read(r) for r in tx.execute(query, {"most": most})]


def one(tx: Tx, entry: int) -> dict[str, Any] | None:
    found = tx.execute(_ONE, {"of_id": entry}).one_or_none()
    return None if found is None else _read(found)


def _told(detail: Mapping[str, Any] | None) -> str | None:
    return json.dumps(_fit(detail), default=str) if detail else None


# From where a word begins only: else each sign of a long one would be tried as the first.
_EMAIL = re.compile(r"(?<![^\s@\"'<>,;:])[^\s@\"'<>,;:]+@[^\s@\"'<>,;]+")
_BEHIND_HOST = re.compile(r"(https?://[^\s/?#\"']+)[/?#][^\s\"']*")


def _fit(value: Any) -> Any:
    """Each text in it fit to be kept. Of the whole as JSON, quotes might go with what is masked."""
    if isinstance(value, str):
        return _EMAIL.sub("(e-mail)", _BEHIND_HOST.sub(rf"\1/{HIDDEN}", redact(value)))
    if isinstance(value, Mapping):
        return {name: _fit(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [_fit(each) for each in value]
    return value


def _read(row: Any) -> dict[str, Any]:
    return {**row._mapping, "detail": json.loads(row.detail) if row.detail else {}}
