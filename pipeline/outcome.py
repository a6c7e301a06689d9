"""What a stage says of one order: Advance, Reject, Retry or Hold. A failure is data, not an exception."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from pipeline.order import Status


@dataclass(frozen=True, slots=True)
class Advance:
    """Done: the order moves to the stage's target. `detail` goes into the timeline."""

    detail: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Reject:
    """Final: this order can't be fulfilled. What earlier stages did is undone.

    `had_effect` says that this stage itself left something behind that must be undone too.
    """

    reason: str
    detail: Mapping[str, Any] = field(default_factory=dict)
    had_effect: bool = False


@dataclass(frozen=True, slots=True)
class Retry:
    """Not now. `after` seconds, or a jittered back-off by attempt.

    `burns` is False where the cause is not the order's (an outage, missing stock): such waits
    don't count towards giving up. `aside` is a status to wait in (backordered).
    """

    reason: str
    detail: Mapping[str, Any] = field(default_factory=dict)
    after: float | None = None
    burns: bool = True
    aside: Status | None = None


@dataclass(frozen=True, slots=True)
class Hold:
    """A person must look at it. The order keeps its place and goes on from there when released."""

    reason: str
    detail: Mapping[str, Any] = field(default_factory=dict)


Outcome = Advance | Reject | Retry | Hold
