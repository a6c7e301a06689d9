"""What a check found."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Level = Literal["ok", "warning", "error"]


@dataclass(frozen=True, slots=True)
class Check:
    """One thing looked at. `mend` says what to do about it, unless it is ok."""

    name: str
    level: Level
    found: str
    mend: str = ""
