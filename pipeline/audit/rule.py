"""A rule of the audit as data: its sentence, what it looks at, and the query for what breaks it."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Select, func, select

from pipeline.storage.database import Tx

#: Findings told one by one; beyond, only how many there are.
MOST_TOLD = 100

#: What statements may bind: `gateways` (names of those whose books were read), `book_read_at` (when
#: that was begun) and `news_since` (microseconds: what the gateways did since may be unknown to us).
Scope = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Finding:
    """One breach of a rule. Of `order_id`, `sku` and `key` (of a payment operation) those that apply."""

    rule: str
    what: str
    order_id: int | None = None
    sku: str | None = None
    key: str | None = None


@dataclass(frozen=True, slots=True)
class Checked:
    """How a rule fared: of `checked` things `broken` broke it; `findings` tells at most MOST_TOLD."""

    rule: Rule
    checked: int
    broken: int
    findings: tuple[Finding, ...]
    seconds: float


@dataclass(frozen=True, slots=True)
class Rule:
    """`sentence` says what holds. `checked` selects how many things that concerns (a number),
    `broken` one row for each breach: its columns named order_id, sku and key say where, and `what`
    is a sentence with any of its columns in braces."""

    name: str
    sentence: str
    checked: Select[Any]
    broken: Select[Any]
    what: str

    def check(self, tx: Tx, scope: Scope) -> Checked:
        begun = time.monotonic()
        breaches = self.broken.subquery()
        told = (
            select(breaches, func.count().over().label("breaches"))
            .order_by(breaches.c[0])
            .limit(MOST_TOLD)
        )
        found = [dict(row._mapping) for row in tx.execute(told, scope)]
        return Checked(
            self,
            tx.execute(self.checked, scope).scalar_one(),
            found[0]["breaches"] if found else 0,
            tuple(self._finding(row) for row in found),
            time.monotonic() - begun,
        )

    def _finding(self, row: Mapping[str, Any]) -> Finding:
        where = {name: row.get(name) for name in ("order_id", "sku", "key")}
        return Finding(self.name, self.what.format_map(row), **where)
