"""Where an order goes, as rules compare it."""

from __future__ import annotations


def normal_postal(code: str | None) -> str:
    """In capitals and without spaces; none is empty."""
    return "".join(code.split()).upper() if code else ""
