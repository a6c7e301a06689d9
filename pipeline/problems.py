"""What is wrong with what was sent, field by field: its path, its value as far as it may be shown, what
was expected."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any, Protocol

from pipeline.cards import shape
from pipeline.redaction import redact_start
from pipeline.text import legible

#: Characters that are shown of a field's name or of its value.
_SHOWN = 80
#: Problems of one order that are named; of any more only the number is told.
MOST_PROBLEMS = 100


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong with one field: its path, the value that was sent, what was expected."""

    field: str
    value: str
    expected: str

    def __str__(self) -> str:
        return f"{self.field}: got {self.value}, expected {self.expected}"


def first_of(problems: Sequence[Problem]) -> tuple[tuple[Problem, ...], int]:
    """Those that are named, and how many others there are."""
    return tuple(problems[:MOST_PROBLEMS]), max(0, len(problems) - MOST_PROBLEMS)


def name_to_show(name: str) -> str:
    """An id that was refused, by which people find it: as it stands, as far as it can be kept at
    all. What no database can store, or no screen show, is escaped."""
    return legible(name[:128])[:128]


#: What its sentences begin with; the rest says what was expected.
_PYDANTIC = re.compile(r"^(Value error, |Input should be |\w+ should have )")


class Refused(Protocol):
    """A ValidationError of pydantic, or what stands for one."""

    def errors(self) -> Sequence[Any]: ...


def problems(error: Refused, skip: int = 0, first_line: int | None = None) -> list[Problem]:
    """What a model refused, in our words, up to `MOST_PROBLEMS`; `skip` so many parts of each path.
    With `first_line` the model is a part of an order's lines that begins there."""
    return [
        _problem(e, e["loc"][skip:] if first_line is None else _in_order(e["loc"], first_line))
        for e in islice(error.errors(), MOST_PROBLEMS)
    ]


def _in_order(path: Sequence[Any], first_line: int) -> tuple[Any, ...]:
    return ("lines", first_line + path[0], *path[1:])


def _problem(error: Any, path: Sequence[Any]) -> Problem:
    field = fit_to_show(".".join(str(part) for part in path))
    message = _PYDANTIC.sub("", error["msg"])
    value = error["input"]
    if error["type"] == "missing":
        return Problem(field, "nothing", "a value")
    if error["type"] == "extra_forbidden":
        return Problem(field, value_to_show(value), "no such field")
    if error["type"] == "string_unicode":
        return Problem(
            field, value_to_show(value), "text without halves of characters (lone surrogates)"
        )
    if error["type"] == "string_pattern_mismatch":
        is_negative = isinstance(value, str) and value.strip().startswith(("-", "\u2212"))
        least = ", 0 or more" if is_negative else ""
        return Problem(field, value_to_show(value), f"a decimal string such as 12.50{least}")
    if not field and ": " in message:  # a rule over several fields, which names its field itself
        field, message = message.split(": ", 1)
        value = value.get(field) if isinstance(value, Mapping) else getattr(value, field, None)
    return Problem(field or "order", value_to_show(value), message)


def value_to_show(value: Any) -> str:
    """The value as sent, cut short; of what may be a card number, the shape."""
    written, size = [], 0
    for part in _json(value):
        written.append(part)
        size += len(part)
        if size > _WRITTEN:
            break
    return fit_to_show("".join(written))


#: Of a value as JSON, written bit by bit, so much that its first 80 characters are certain.
_WRITTEN = 1_000
_JSON = json.JSONEncoder(default=str, ensure_ascii=False)


def _json(value: Any) -> Iterator[str]:
    """As JSON, bit by bit. `iterencode` does so in functions that keep each other, and with them
    whole documents, until the collector comes by: a tenth of a second for a few of them."""
    if isinstance(value, dict):
        for n, (name, each) in enumerate(value.items()):
            yield f"{', ' if n else '{'}{_JSON.encode(name[:_WRITTEN])}: "
            yield from _json(each)
        yield "}" if value else "{}"
    elif isinstance(value, list):
        for n, each in enumerate(value):
            yield ", " if n else "["
            yield from _json(each)
        yield "]" if value else "[]"
    else:
        yield _JSON.encode(value[:_WRITTEN] if isinstance(value, str) else value)


def fit_to_show(text: str) -> str:
    """What was sent, without keys and passwords, on one line and cut short to 80 characters; of what
    may be a card number the shape: 4242…4242."""
    shown = legible(redact_start(text, 2 * _SHOWN, shape))
    is_whole = len(shown) <= _SHOWN and len(text) <= 2 * _SHOWN
    return shown if is_whole else shown[: _SHOWN - 1] + "…"
