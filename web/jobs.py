"""What of the scheduler's jobs is known here; who runs the app hands them in."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Protocol

from pipeline.storage.database import Tx


class Schedule(Protocol):
    def following(self, at: datetime) -> datetime: ...


class Job(Protocol):
    @property
    def name(self) -> str: ...
    @property
    def schedule(self) -> Schedule: ...
    @property
    def description(self) -> str: ...
    @property
    def time_limit(self) -> float: ...
    def ask(self, tx: Tx, asked_by: str) -> int: ...


#: By name.
Jobs = Mapping[str, Job]
