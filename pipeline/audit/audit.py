"""The audit: every rule, at one moment, against the gateway's own list. It only reads."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pipeline.audit import book
from pipeline.audit.rule import Checked, Finding, Rule
from pipeline.audit.rules import RULES
from pipeline.payments.gateway import Gateway
from pipeline.storage import clock
from pipeline.storage.database import Database


@dataclass(frozen=True, slots=True)
class Report:
    """What became of each rule, in the order of the registry."""

    rules: tuple[Checked, ...]

    @property
    def is_clean(self) -> bool:
        return not any(checked.broken for checked in self.rules)

    @property
    def findings(self) -> list[Finding]:
        """What is told of all that broke a rule."""
        return [finding for checked in self.rules for finding in checked.findings]


def audit(database: Database, gateway: Gateway, rules: Sequence[Rule] = RULES) -> Report:
    """Check `rules` in one snapshot of `database`; right also while it is being worked on.

    Raises what the gateway raises when its book can't be read: an audit of half is none.
    """
    with database.snapshot() as tx:
        scope = {"gateway": gateway.name, "book_read_at": clock.read(tx)}
    # The book first, the snapshot after it: book.py says why.
    with book.spooled(gateway.book()) as pages, database.snapshot() as tx:
        book.load(tx, pages, gateway.name)
        return Report(tuple(rule.check(tx, scope) for rule in rules))
