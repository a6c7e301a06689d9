"""The audit: every rule, at one moment, against the gateway's own list. It only reads."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import timedelta
from itertools import chain

from pipeline.audit.rule import Checked, Finding, Rule
from pipeline.audit.rules import RULES
from pipeline.payments.gateway import Gateway
from pipeline.payments.gateway_list import keeps_list
from pipeline.storage import clock, gateway_book
from pipeline.storage.database import Database, whole_tables

#: What happens at a gateway without us is met by reading its events, once a minute.
NEWS = timedelta(minutes=5)


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


def audit(
    database: Database, gateways: Mapping[str, Gateway], rules: Sequence[Rule] = RULES
) -> Report:
    """Check `rules` in one snapshot of `database`; right also while it is being worked on.

    Raises what a gateway raises when its book can't be read: an audit of half is none.
    """
    kept = {name: one for name, one in gateways.items() if keeps_list(one)}
    with database.snapshot() as tx:
        now = clock.read(tx)
    scope = {
        "gateways": sorted(kept),
        "book_read_at": now,
        "news_since": gateway_book.micros(now - NEWS),
    }
    with ExitStack() as stack:
        # The books first, the snapshot after them: gateway_book.py says why.
        books = [
            stack.enter_context(gateway_book.spooled(name, gateway.book()))
            for name, gateway in kept.items()
        ]
        tx = stack.enter_context(database.snapshot())
        gateway_book.load(tx, chain.from_iterable(books))
        with whole_tables(tx):
            return Report(tuple(rule.check(tx, scope) for rule in rules))
