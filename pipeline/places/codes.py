"""Codes for countries that stand beside those of ISO 3166-1."""

from __future__ import annotations

#: Codes that ISO leaves to its users, and that carriers, gateways and customs use; each with the
#: country that it is a part of by ISO 3166-1, if it is of one.
OWN_CODES: dict[str, str | None] = {
    "XK": None,  # Kosovo
    "XI": "GB",  # Northern Ireland: its VAT ids and customs papers say so
    "IC": "ES",  # the Canary Islands
    "EA": "ES",  # Ceuta and Melilla
}


def whole_country(code: str) -> str:
    """The ISO 3166-1 code of the country that `code` is a part of: GB for XI; else `code`."""
    return OWN_CODES.get(code) or code
