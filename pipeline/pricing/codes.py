"""What people mean who type or paste a coupon's code."""

from __future__ import annotations

import unicodedata

#: Keyboards and word processors put these where a code has a plain sign.
_PLAIN = str.maketrans(
    dict.fromkeys("\u2010\u2012\u2013\u2014\u2015\u2212", "-")
    | dict.fromkeys("\u2018\u2019\u02bc\u2032\u00b4`", "'")
    | {"\u0131": "i", "\u0307": None}  # of a Turkish keyboard: ı, and the point over a small İ
)


def meant(code: str) -> str:
    """What `code` is compared by: without regard to case, to the width and form of its signs, to
    spaces around it, to signs that nobody sees, and to how a hyphen or an apostrophe was typed."""
    if code.isascii():
        return " ".join(code.split()).lower().replace("`", "'")
    # Once more at the end: to fold a sign's case can take its form apart.
    folded = unicodedata.normalize("NFKC", code).casefold()
    plain = unicodedata.normalize("NFKC", folded.translate(_PLAIN)).translate(_PLAIN)
    seen = "".join(sign for sign in plain if unicodedata.category(sign) not in ("Cf", "Cc"))
    return " ".join(seen.split())
