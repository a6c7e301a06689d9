"""Text as names and codes are compared: without case, accents, spaces and points."""

from __future__ import annotations

import unicodedata

#: Letters that Unicode doesn't take apart into a letter and its accent.
_LETTERS = str.maketrans(
    {"ı": "i", "ø": "o", "ł": "l", "đ": "d", "ð": "d", "þ": "th", "æ": "ae", "œ": "oe", "&": "and"}
)
_UMLAUTS = str.maketrans({"ä": "ae", "ö": "oe", "ü": "ue", "å": "aa"})


def fold(text: str) -> str:
    """ "N.Y." and "ny" fold to "ny", "São Paulo" to "saopaulo"; what has no letter or digit, to ""."""
    apart = unicodedata.normalize("NFKD", text.casefold().translate(_LETTERS))
    return "".join([sign for sign in apart.translate(_LETTERS) if sign.isalnum()])


def folds(text: str) -> set[str]:
    """`fold`, and how it folds where umlauts are written out: Thüringen, Thueringen."""
    composed = unicodedata.normalize("NFKC", text.casefold())
    return {fold(text), fold(composed.translate(_UMLAUTS))} - {""}
