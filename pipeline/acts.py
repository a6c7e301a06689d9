"""What operators do, wherever they do it: each act leaves an entry in the operators' log."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

from pipeline.errors import InvalidInput
from pipeline.redaction import describe
from pipeline.storage import operators_log
from pipeline.storage.database import Database, Tx
from pipeline.storage.operators_log import Outcome


@dataclass(slots=True)
class Act:
    """Something that is being done: in `tx`, with more to be told in `detail`."""

    tx: Tx
    detail: dict[str, Any]


@contextmanager
def act(
    database: Database, operator: str, action: str, target: object = None, **detail: Any
) -> Iterator[Act]:
    """A transaction that does something, and says so in the log. What is refused (InvalidInput) is
    in the log too."""
    try:
        with database.transaction() as tx:
            doing = Act(tx, detail)
            yield doing
            operators_log.add(tx, operator, action, target, doing.detail)
    except InvalidInput as error:
        why = {**detail, "why": str(error)}
        with database.transaction() as tx:
            operators_log.add(tx, operator, action, target, why, "refused")
        raise


@contextmanager
def undertaking(
    database: Database, operator: str, action: str, target: object = None, **detail: Any
) -> Iterator[dict[str, Any]]:
    """Something that takes more than one transaction, with more to be told in what is yielded. Its
    entry is there from the beginning: if the process dies it stays under way."""
    with database.transaction() as tx:
        entry = operators_log.add(tx, operator, action, target, detail, "under_way")
    with carried_out(database, entry, detail):
        yield detail


@contextmanager
def carried_out(database: Database, entry: int, detail: dict[str, Any]) -> Iterator[None]:
    """Doing what an entry says is under way: it is told how that ended, with `detail` as it is then."""
    try:
        yield
    except BaseException as error:  # only to be told; it is raised again
        detail["why"] = describe(error)
        outcome: Outcome = "refused" if isinstance(error, InvalidInput) else "failed"
        with suppress(Exception):  # the database may be why
            tell(database, entry, detail, outcome)
        raise
    tell(database, entry, detail, "done")


def tell(
    database: Database, entry: int, detail: Mapping[str, Any], outcome: Outcome = "under_way"
) -> None:
    """Write into an entry how far it is, or how it ended."""
    with database.transaction() as tx:
        operators_log.progress(tx, entry, detail, outcome)
