"""What kind of file it is, by its first bytes: one that can't be read is named, instead of its lines."""

from __future__ import annotations

import codecs
import re

#: Bytes of a file that are looked at.
START = 4096

_BINARY = (
    (b"\xd0\xcf\x11\xe0", "an old Excel workbook (xls), or another document of Office; save it as CSV"),
    (b"%PDF", "PDF"),
    (b"BZh", "compressed with bzip2; unpack it first, or compress it with gzip"),
    (b"\xfd7zXZ", "compressed with xz; unpack it first, or compress it with gzip"),
    (b"\x28\xb5\x2f\xfd", "compressed with zstd; unpack it first, or compress it with gzip"),
    (codecs.BOM_UTF16_LE, "UTF-16; convert it first: iconv -f utf-16 -t utf-8"),
    (codecs.BOM_UTF16_BE, "UTF-16; convert it first: iconv -f utf-16 -t utf-8"),
)  # fmt: skip
_TEXT = (
    (re.compile(rb"<(\?xml|!|[A-Za-z])"), "XML or HTML"),
    (re.compile(rb"ISA([^0-9A-Za-z])..\1"), "EDI (X12)"),
    (re.compile(rb"UNA.{6}|UNB\W"), "EDI (EDIFACT)"),
    (re.compile(rb"STX="), "EDI (TRADACOMS)"),
)
_ARRAY = re.compile(rb"\[\s*(\{|$)")
_OPEN_OBJECT = re.compile(rb"\{(\s*$|.*,$)")


def foreign_kind(start: bytes) -> str | None:
    """What a file is that begins so, if it is of a kind that can't be read; in words."""
    if start.startswith(b"PK\x03\x04"):
        is_workbook = b"[Content_Types].xml" in start or b"xl/" in start
        return "an Excel workbook (xlsx); save it as CSV" if is_workbook else "a zip archive"
    if binary := next((name for magic, name in _BINARY if start.startswith(magic)), None):
        return binary
    text = _text(start)
    return next((name for form, name in _TEXT if form.match(text)), None)


def unlike_json_lines(start: bytes) -> str | None:
    """Why a text that begins so has no JSON object in each line; None if it may have."""
    lines = _whole_lines(start)
    if not lines or foreign_kind(start):
        return None
    if _ARRAY.match(lines[0]):
        return "a JSON array; write one object a line (jq -c '.[]')"
    if _OPEN_OBJECT.match(lines[0]):
        return "JSON over several lines; write one object a line (jq -c .)"
    if len(lines) > 1 and not any(line.startswith((b"{", b"[")) for line in lines[:2]):
        counts = [(lines[0].count(sign), lines[1].count(sign)) for sign in (b"\t", b";", b",")]
        if any(first == second > 0 for first, second in counts):
            return "CSV, it seems; say by a mapping which column is which field"
    return None


def is_json(start: bytes) -> bool:
    """Whether a file that begins so is JSON rather than CSV."""
    return bool(re.match(rb'\{\s*"|\[\s*\{', _text(start)))


def _text(start: bytes) -> bytes:
    return start.removeprefix(codecs.BOM_UTF8).lstrip()


def _whole_lines(start: bytes) -> list[bytes]:
    """The lines that are not blank, but for a last one that may go on."""
    lines = _text(start).splitlines(keepends=True)
    if lines and len(start) >= START and not lines[-1].endswith((b"\n", b"\r")):
        lines.pop()
    return [line.strip() for line in lines if line.strip()]
