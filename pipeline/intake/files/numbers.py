"""Numbers as people write them: 1.299,00 € → 1299.00. What could be read in two ways is not read."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Annotated, Literal

from pydantic import Field

#: What may stand between groups of three digits; a space is any kind of space.
Thousands = Literal[".", ",", " ", "'", "\u2019"]
Sign = Annotated[str, Field(min_length=1, max_length=8)]


#: Characters of a cell that may be a number.
MOST_SIGNS = 255


@dataclass(frozen=True)
class Numbers:
    """How a file writes numbers: the sign before the decimals, the sign between thousands (None: none
    is used), the currency signs that stand beside an amount and say nothing new."""

    decimal: str = "."
    thousands: str | None = None
    currency_signs: Sequence[str] = ()

    @property
    def are_plain(self) -> bool:
        """Whether they are written as the schema reads them."""
        return self == Numbers()

    def plain(self, text: str) -> str | None:
        """`text` as the schema has numbers, or None if it is none that is written so."""
        found = self._form.fullmatch(text.strip()) if len(text) <= MOST_SIGNS else None
        if found is None or (found["before"] and found["after"]):
            return None
        minus = "-" if "-" in (found["before"], found["after"]) else ""
        whole = re.sub(r"\D", "", found["whole"])
        return minus + whole + (f".{found['decimals']}" if found["decimals"] else "")

    @property
    def expected(self) -> str:
        """In words, by an example."""
        sign = self.currency_signs[0] if self.currency_signs else ""
        number = f"1{self.thousands or ''}299{self.decimal}00"
        return f"a number such as {number} {sign}".rstrip() + ", as the mapping writes numbers"

    @cached_property
    def _form(self) -> re.Pattern[str]:
        whole = r"[0-9]+"
        if self.thousands is not None:
            between = r"\s" if self.thousands == " " else re.escape(self.thousands)
            whole += rf"|[0-9]{{1,3}}(?:{between}[0-9]{{3}})+"
        number = rf"(?P<whole>{whole})(?:{re.escape(self.decimal)}(?P<decimals>[0-9]+))?"
        signs = "|".join(re.escape(sign.strip()) for sign in self.currency_signs)
        # Spaces belong to what they stand before, in one way only: else many of them take long.
        money = rf"(?:\s*+(?:{signs}))?\s*+" if signs else r"\s*+"
        # -€5, € -5 and 5 €: the minus may stand on either side of the currency's sign.
        return re.compile(rf"\A(?P<before>[+-]?){money}(?P<after>[+-]?){number}{money}")
