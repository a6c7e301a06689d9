"""Mail addresses as customers give them. Whether mail gets there is the courier's trouble."""

from __future__ import annotations

import re
import unicodedata

from pydantic.networks import validate_email
from pydantic_core import PydanticCustomError

MOST_SIGNS = 254

_SIGN = r"[^\s\"(),:;<>@\[\]\\]"
_LABEL = r"[^\s\"(),:;<>@\[\]\\.]+"  # up to the first point, which can be found in one way only
#: Something, an @, and a domain with a point in it. The first part may stand in quotes.
_SENDABLE_PERHAPS = re.compile(rf"(\"[^\"\\]{{1,64}}\"|{_SIGN}+)@({_LABEL}\.{_SIGN}+)")
#: The sign that Japanese keyboards give; the letters beside it are often as wide.
_WIDE_AT = "\uff20"
#: What is pasted along with an address, and seen by nobody.
_PASTED = dict.fromkeys(map(ord, "\u00ad\u200b\u200c\u200d\u200e\u200f\u2060\ufeff"))


def address_of(text: str) -> str:
    """The address: of those that the rules for mail allow, in their one form; any other that has
    the form of one (`taro..y@docomo.ne.jp`, `buyer@shop.local`), with its domain in small letters.

    ValueError if it has no chance, or is longer than 254 characters."""
    try:
        address = validate_email(text)[1]
    except PydanticCustomError as error:
        if _WIDE_AT in text:
            return address_of(unicodedata.normalize("NFKC", text))
        if not text.isprintable() and (seen := text.translate(_PASTED)) != text:
            return address_of(seen)
        found = _SENDABLE_PERHAPS.fullmatch(text.strip()) if text.isprintable() else None
        if found is None:
            raise ValueError(error.message()) from None
        address = f"{found[1]}@{found[2].lower()}"
    if len(address) > MOST_SIGNS:
        raise ValueError(f"at most {MOST_SIGNS} characters")
    return address
