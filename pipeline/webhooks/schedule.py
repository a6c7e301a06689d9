"""What becomes of a delivery, and of its endpoint, after an attempt: pure decisions."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

MINUTE, HOUR, DAY = 60.0, 3_600.0, 86_400.0

#: Seconds from one attempt to the next, as Standard Webhooks suggests: three days of trying.
WAITS = (
    5.0, 5 * MINUTE, 30 * MINUTE, 2 * HOUR, 5 * HOUR, 10 * HOUR, 14 * HOUR, 20 * HOUR, 24 * HOUR,
)  # fmt: skip
#: The longest that a Retry-After is heeded.
LONGEST_WAIT = DAY
#: An endpoint is dead that has done nothing but fail for so long. The last attempt at the first
#: delivery that failed comes after it, so an endpoint with a single event is found dead, too.
DEAD_AFTER = 3 * DAY

#: After so many failures in a row an endpoint rests, for longer and longer; then one is tried.
REST_AFTER, FIRST_REST, LONGEST_REST = 5, 5.0, 600.0

GONE = 410
_BUSY = frozenset({429, 503})

State = Literal["pending", "delivered", "failed"]


@dataclass(frozen=True, slots=True)
class Answer:
    """What an endpoint answered: its status, or None and why there is none. `error` is for people
    (also of a success that ended oddly), `text` the beginning of its body, `retry_after` in seconds,
    `ms` how long it took in all."""

    status: int | None
    ms: int
    error: str | None = None
    text: str | None = None
    retry_after: float | None = None

    @property
    def is_success(self) -> bool:
        return self.status is not None and 200 <= self.status < 300

    @property
    def is_gone(self) -> bool:
        return self.status == GONE


def judge(answer: Answer, tries: int) -> tuple[State, float]:
    """Pure but for the jitter: the delivery's state after the attempt that follows `tries` others,
    and the seconds until the next."""
    if answer.is_success:
        return "delivered", 0.0
    if tries >= len(WAITS):
        return "failed", 0.0
    # What failed together doesn't come back together.
    wait = WAITS[tries] * random.uniform(1.0, 1.2)
    return "pending", max(wait, min(answer.retry_after or 0.0, LONGEST_WAIT))


@dataclass(frozen=True, slots=True)
class Health:
    """`failures` in a row so far; `rest`: seconds to leave it alone; `recovered`: one got there."""

    failures: int
    rest: float = 0.0
    recovered: bool = False


def health(failures: int, answers: Sequence[Answer], again: Sequence[bool]) -> Health:
    """Pure: how an endpoint is that had failed so often in a row, after these attempts. `again` says
    of each whether it failed after the failure before it was known. Those that were under way then
    failed beside it: they are the same hiccup, and don't count."""
    recovered = any(answer.is_success for answer in answers)
    for answer, counts in zip(answers, again, strict=True):
        failures = 0 if answer.is_success else max(failures + counts, 1)
    return Health(failures, max(_rest(failures), _asked(answers)), recovered)


def _rest(failures: int) -> float:
    if failures < REST_AFTER:
        return 0.0
    return min(FIRST_REST * 2.0 ** min(failures - REST_AFTER, 20), LONGEST_REST)


def _asked(answers: Sequence[Answer]) -> float:
    """What the last of them asked for on behalf of the whole endpoint, within our bounds."""
    if not answers or answers[-1].status not in _BUSY:
        return 0.0
    return min(answers[-1].retry_after or 0.0, LONGEST_REST)
