"""JSON as RFC 8259 means it, and no more than we would read: what is ambiguous is refused."""

from __future__ import annotations

import json
from typing import Any, NoReturn

#: Lists and objects within each other. An order has four.
MOST_DEPTH = 32
#: Names in one object: what has more is nothing that we know, and it would take long to name each.
MOST_NAMES = 10_000


class NotJson(ValueError):
    """It is no JSON that can be read in one way only; the message says where or why."""


def parse(text: bytes) -> Any:
    """The value that `text` (UTF-8) is. NotJson if a name stands twice in an object, for NaN and
    its like, and for what is nested too deeply or has too many names."""
    try:
        value = json.loads(
            text.decode("utf-8"), object_pairs_hook=_members, parse_constant=_no_constant
        )
    except UnicodeDecodeError as error:
        raise NotJson(f"not UTF-8: byte {error.start}") from None
    except RecursionError:
        raise NotJson(f"nested more than {MOST_DEPTH} deep") from None
    except json.JSONDecodeError as error:
        raise NotJson(f"not JSON: {error}") from None
    except NotJson:
        raise
    except ValueError as error:  # a number of thousands of digits
        raise NotJson(f"not JSON: {error}") from None
    if text.count(b"[") + text.count(b"{") > MOST_DEPTH and _is_deeper(value, MOST_DEPTH):
        raise NotJson(f"nested more than {MOST_DEPTH} deep")
    return value


def _members(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    if len(pairs) > MOST_NAMES:
        raise NotJson(f"{len(pairs):,} names in one object, of {MOST_NAMES:,} at most")
    found = dict(pairs)
    if len(found) < len(pairs):
        raise NotJson("a name stands twice in one object")
    return found


def _no_constant(name: str) -> NoReturn:
    raise NotJson(f"{name} is no number of JSON")


def _is_deeper(value: Any, most: int) -> bool:
    if not isinstance(value, dict | list):
        return False
    inner = value.values() if isinstance(value, dict) else value
    return most == 0 or any(_is_deeper(each, most - 1) for each in inner)
