"""Cursors: where a page ended. Opaque to who is given one, so that what is in it can change."""

from __future__ import annotations

import base64
import json
from typing import Any

from pipeline.problems import Problem, fit_to_show
from web.problems import Refusal, invalid


def cursor(*position: Any) -> str:
    """A text that stands for a position."""
    written = json.dumps(position, separators=(",", ":"), default=str)
    return base64.urlsafe_b64encode(written.encode()).decode().rstrip("=")


def position(given: str, *kinds: type) -> list[Any]:
    """The position that a cursor of ours stands for, of values of these kinds; Refusal if it is
    none."""
    try:
        padded = given + "=" * (-len(given) % 4)
        read = json.loads(base64.b64decode(padded.encode("ascii"), altchars=b"-_", validate=True))
    except (ValueError, RecursionError):
        raise foreign(given) from None
    if not isinstance(read, list) or [type(value) for value in read] != list(kinds):
        raise foreign(given)
    if any(isinstance(value, int) and abs(value) >= 2**63 for value in read):
        raise foreign(given)
    if any(isinstance(value, str) and not value.isprintable() for value in read):
        raise foreign(given)
    return read


def foreign(given: str) -> Refusal:
    """It is no cursor of this list."""
    shown = fit_to_show(given if given.isprintable() else repr(given))
    return invalid([Problem("cursor", shown, "the `next` of an earlier page of this list")])
