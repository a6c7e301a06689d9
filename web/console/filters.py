"""Orders by filter, as an address has it: the same words as on the command line."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any

from fastapi import Depends

from pipeline.errors import InvalidInput
from pipeline.storage.selection import Selection
from pipeline.typed import seconds


@dataclass(frozen=True, slots=True)
class Filter:
    """What was asked for, as it was written; empty: anything."""

    status: str = ""
    reason: str = ""
    stage: str = ""
    source: str = ""
    external_id: str = ""
    older_than: str = ""
    sku: str = ""
    email: str = ""

    @property
    def selection(self) -> Selection:
        """InvalidInput if it is older than something that is no time."""
        return Selection(
            self.status or None, self.reason or None, self.stage or None, self.source or None,
            self.external_id or None, seconds("older_than", self.older_than), self.sku or None,
            self.email or None,
        )  # fmt: skip

    @property
    def given(self) -> dict[str, str]:
        """What is not empty."""
        return {k: v for k in self.__slots__ if (v := getattr(self, k))}

    def but(self, **changes: str) -> dict[str, str]:
        """As an address, with changes."""
        return {**self.given, **changes}

    @property
    def reads_documents(self) -> bool:
        """Whether each order must be read for it: no index helps."""
        return bool(self.sku)


def _filter(
    status: str = "", reason: str = "", stage: str = "", source: str = "", external_id: str = "",
    older_than: str = "", sku: str = "", email: str = "",
) -> Filter:  # fmt: skip
    given = (status, reason, stage, source, external_id, older_than, sku, email)
    return Filter(*(each.strip() for each in given))


Asked = Annotated[Filter, Depends(_filter)]


def from_form(form: Any) -> Filter:
    return Filter(**{name: form.get(name, "") for name in Filter.__slots__})


def moment(written: str) -> datetime:
    """A moment that a page of ours has written into its form."""
    try:
        read = datetime.fromisoformat(written)
    except ValueError:
        read = None
    if read is None or read.tzinfo is None:
        raise InvalidInput("until: expected the moment that the page has in it; load it again")
    return read
