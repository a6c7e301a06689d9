"""The figures of an import, as it goes and at its end."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Generic, TypeVar

from pydantic import BaseModel

from pipeline.intake.files.records import Record
from pipeline.intake.files.rejects import WriteRejects

S = TypeVar("S")
M = TypeVar("M", bound=BaseModel)

#: Reasons come from the file: so many are told apart, all further ones are "other".
MOST_REASONS = 100


@dataclass(frozen=True, slots=True)
class Progress(Generic[S]):
    """How far an import is: bytes `done` of `total` (as on disk), and its figures so far. In a first
    look at the file (`is_look`) nothing is imported yet; the bytes then begin anew."""

    done: int
    total: int
    summary: S
    is_look: bool = False


@dataclass(slots=True)
class Tally:
    """What became of a file's lines: accepted + skipped + rejected = read.

    `skipped` were imported before; `reasons` counts the rejected by their first fault.
    """

    read: int = 0
    accepted: int = 0
    skipped: int = 0
    rejected: int = 0
    reasons: Counter[str] = field(default_factory=Counter)


def count_reason(reasons: Counter[str], label: str) -> None:
    reasons[label if label in reasons or len(reasons) < MOST_REASONS else "other"] += 1


def reject(record: Record[M], tally: Tally, refuse: WriteRejects) -> None:
    """Count a record that has faults, and write them down."""
    tally.rejected += 1
    count_reason(tally.reasons, record.faults[0].label)
    refuse(record.key, record.faults)


def sound(
    records: Iterable[Record[M]], tally: Tally, refuse: WriteRejects
) -> list[tuple[Record[M], M]]:
    """Those without a fault, with their values; all are counted as read, the others rejected."""
    good = []
    for record in records:
        tally.read += 1
        if record.value is None:
            reject(record, tally, refuse)
        else:
            good.append((record, record.value))
    return good
