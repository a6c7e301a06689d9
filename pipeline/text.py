"""Text that people write: what of it could do harm, and what of it fits on one line.

Every sign that a script or a keyboard has is wanted: spaces of all widths, joiners, marks, signs
newer than this Python. What moves a cursor, turns the reading round, or can't be stored is not.
"""

from __future__ import annotations

import re
import unicodedata

_BREAKS = re.compile("\r\n|[\u2028\u2029]")
_NO_CHARACTERS = "".join(
    chr(plane + 0xFFFE) + chr(plane + 0xFFFF) for plane in range(0, 0x110000, 0x10000)
)
_TAGS = "\U000e0000-\U000e007f"  # letters that nobody sees
_HARMFUL = re.compile(
    "[\x00-\x1f\x7f-\x9f"  # C0 and C1 controls
    "\u202a-\u202e\u2066-\u2069"  # embeddings, overrides and isolates of direction
    "\ud800-\udfff"  # lone surrogates
    f"\ufdd0-\ufdef{_NO_CHARACTERS}{_TAGS}]"
)
#: But in a flag, such as Scotland's.
_FLAG = re.compile(f"\U0001f3f4[{_TAGS}]{{1,8}}")
_ESCAPED = re.compile(f"{_HARMFUL.pattern}|[\u2028\u2029]")


def harmless(text: str, *, breaks: bool = False) -> str:
    """`text`, if nothing in it could do harm; where `breaks` are allowed each becomes a line feed.
    ValueError says what was found."""
    if text.isprintable():
        return text
    if breaks:
        text = _BREAKS.sub("\n", text)
    looked_at = _FLAG.sub("", text)
    for found in _HARMFUL.finditer(looked_at):
        if not (breaks and found[0] == "\n"):
            what = "a line break" if found[0] in "\r\n" else f"U+{ord(found[0]):04X}"
            raise ValueError(f"text without control characters, {what} among them")
    if not breaks and _BREAKS.search(looked_at):
        raise ValueError("text without control characters, a line break among them")
    return text


def plain(text: str) -> str:
    """`text` in signs of plain width and form, without those that nobody sees: ＤＥ is DE."""
    if text.isascii():
        return text
    same = unicodedata.normalize("NFKC", text)
    return "".join(sign for sign in same if unicodedata.category(sign) != "Cf")


def legible(text: str) -> str:
    """`text` as it may be shown anywhere, on one line: what could do harm stands there escaped."""
    if text.isprintable():
        return text
    return _ESCAPED.sub(lambda sign: sign[0].encode("unicode_escape").decode(), text)
