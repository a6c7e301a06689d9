"""No regular expression of ours takes a time that grows faster than the text it is shown.

While one works no other thread runs: what is quadratic over a text that a stranger chose stops the
process. So each is found and shown the texts that would make it try again and again. Those of
pydantic's fields aren't: its engine is linear.
"""

from __future__ import annotations

import ast
import importlib
import pkgutil
import re
import string
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from re import _constants as sre
from re import _parser
from types import ModuleType
from typing import Any

import pytest

import ordermill
import pipeline
import scheduler
import web
import workers
from pipeline.intake.files import rows
from pipeline.intake.files.numbers import Numbers
from pipeline.places import postal

PACKAGES = (pipeline, web, workers, scheduler, ordermill)
ANCHORED = frozenset({"match", "fullmatch"})
#: Characters of the texts. A quadratic pattern takes two million steps over them, a cubic one a
#: thousand million.
LENGTH = 2_000
#: Seconds of CPU within which nothing quadratic can be done with a text of that length, and that
#: nothing linear takes.
SOON, NEVER = 0.001, 0.5


# --- Which there are ------------------------------------------------------------------------------


def modules() -> Iterator[ModuleType]:
    for package in PACKAGES:
        yield package
        for found in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            if ".migrations." not in found.name and not found.name.endswith("__main__"):
                yield importlib.import_module(found.name)


def in_modules() -> Iterator[re.Pattern[Any]]:
    """Those that a module holds, by name or within its tuples, lists and mappings."""
    for module in modules():
        for value in vars(module).values():
            yield from within(value, 3)


def within(value: Any, depth: int) -> Iterator[re.Pattern[Any]]:
    if isinstance(value, re.Pattern):
        yield value
    elif depth and isinstance(value, tuple | list | set | frozenset):
        for each in value:
            yield from within(each, depth - 1)
    elif depth and isinstance(value, dict):
        yield from within([*value.keys(), *value.values()], depth - 1)


def calls(module: ModuleType) -> Iterator[tuple[str, str, ast.Call]]:
    """(name, method, call): of `name.method(…)`."""
    for node in ast.walk(ast.parse(Path(str(module.__file__)).read_text("utf-8"))):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            of = node.func.value
            yield of.id if isinstance(of, ast.Name) else "", node.func.attr, node


def in_calls() -> Iterator[re.Pattern[Any]]:
    """Patterns that are written in a call: re.sub("…", …), or re.compile("…") in a function."""
    known = {pattern.pattern for pattern in in_modules()}
    for module in modules():
        for name, _, call in calls(module):
            if name == "re" and call.args:
                written = constants(call.args[0])
                yield from (re.compile(each) for each in written if each not in known)


def anchored() -> set[re.Pattern[Any]]:
    """Patterns that are matched at the beginning of a text, or against all of it. Nobody searches
    with them."""
    held_against, searched = set[re.Pattern[Any]](), set[re.Pattern[Any]]()
    for module in modules():
        methods: dict[str, set[str]] = {}
        for name, method, call in calls(module):
            methods.setdefault(name, set()).add(method)
            if name == "re" and method in ANCHORED and call.args:
                held_against.update(map(re.compile, constants(call.args[0])))
        for name, value in vars(module).items():
            if isinstance(value, re.Pattern) and name in methods:
                (held_against if methods[name] <= ANCHORED else searched).add(value)
    return held_against - searched


def constants(node: ast.expr) -> Iterator[Any]:
    if isinstance(node, ast.Constant) and isinstance(node.value, str | bytes):
        yield node.value


def made_by_functions() -> Iterator[re.Pattern[Any]]:
    """Those that depend on what a mapping, or a country, says."""
    for thousands in (None, ".", ",", " ", "'"):
        yield Numbers(",", thousands, ("€", "kr", "R$"))._form
        yield Numbers(".", thousands)._form
    # Of the forms of postal codes, which see 255 characters at the most, those of a few countries.
    for country in ("DE", "GB", "US"):
        codes = postal._codes_of(country)
        yield from within([codes.pattern, codes.short, codes._ahead], 1)


def everyone() -> list[re.Pattern[Any]]:
    list(modules())
    found = [*in_modules(), *in_calls(), *made_by_functions()]
    return sorted(
        {(type(p.pattern).__name__, p.pattern, p.flags): p for p in found}.values(), key=str
    )


# --- What each is shown ---------------------------------------------------------------------------

_CATEGORIES = {
    sre.CATEGORY_DIGIT: str.isdigit,
    sre.CATEGORY_NOT_DIGIT: lambda sign: not sign.isdigit(),
    sre.CATEGORY_SPACE: str.isspace,
    sre.CATEGORY_NOT_SPACE: lambda sign: not sign.isspace(),
    sre.CATEGORY_WORD: lambda sign: sign.isalnum() or sign == "_",
    sre.CATEGORY_NOT_WORD: lambda sign: not (sign.isalnum() or sign == "_"),
}


def belongs(sign: str, members: Sequence[Any]) -> bool:
    negated = bool(members) and members[0][0] is sre.NEGATE
    inside = False
    for kind, value in members:
        if kind is sre.LITERAL:
            inside |= ord(sign) == value
        elif kind is sre.RANGE:
            inside |= value[0] <= ord(sign) <= value[1]
        elif kind is sre.CATEGORY:
            inside |= bool(_CATEGORIES[value](sign))
    return inside is not negated


def signs(members: Sequence[Any]) -> list[str]:
    """Some that a set holds: a letter, a digit, a point, a space, as far as it does."""
    likely = 'a0. _-@:/"' + string.printable
    found = [sign for sign in dict.fromkeys(likely) if belongs(sign, members)]
    literal = [chr(value) for kind, value in members if kind is sre.LITERAL]
    ranges = [chr(value[0]) for kind, value in members if kind is sre.RANGE]
    return (found or literal or ranges or ["a"])[:6]


def samples(sequence: Any, which: int) -> str:
    """A text that the parts of a pattern match, of several by `which`."""
    text = ""
    for kind, value in sequence:
        if kind is sre.LITERAL:
            text += chr(value)
        elif kind is sre.NOT_LITERAL:
            text += "a" if value != ord("a") else "b"
        elif kind is sre.ANY:
            text += "a"
        elif kind is sre.IN:
            some = signs(value)
            text += some[which % len(some)]
        elif kind is sre.BRANCH:
            text += samples(value[1][which % len(value[1])], which)
        elif kind is sre.SUBPATTERN:
            text += samples(value[3], which)
        elif kind is sre.ATOMIC_GROUP:
            text += samples(value, which)
        elif kind in (sre.MAX_REPEAT, sre.MIN_REPEAT, sre.POSSESSIVE_REPEAT):
            least, most, inner = value
            text += samples(inner, which) * max(least, min(int(most), 1))
    return text


def sequences(sequence: Any) -> Iterator[list[Any]]:
    """A pattern's parts, and those of its groups, repeats, branches and assertions."""
    yield list(sequence)
    for kind, value in sequence:
        if kind is sre.BRANCH:
            inner = value[1]
        elif kind is sre.SUBPATTERN:
            inner = [value[3]]
        elif kind is sre.ATOMIC_GROUP:
            inner = [value]
        elif kind in (sre.MAX_REPEAT, sre.MIN_REPEAT, sre.POSSESSIVE_REPEAT):
            inner = [value[2]]
        elif kind in (sre.ASSERT, sre.ASSERT_NOT):
            inner = [value[1]]
        else:
            continue
        for each in inner:
            yield from sequences(each)


def texts(pattern: re.Pattern[Any]) -> Iterator[tuple[str, str, str]]:
    """(beginning, what comes over and over, end): pieces of what it matches, without the rest."""
    parsed = _parser.parse(
        pattern.pattern,
        pattern.flags & ~re.UNICODE & ~re.DEBUG
        if isinstance(pattern.pattern, bytes)
        else pattern.flags & ~re.DEBUG,
    )
    pieces = dict[str, None]()
    heads = dict[str, None]({"": None})
    for which in range(2):
        for sequence in sequences(parsed):
            for n in range(len(sequence)):
                pieces[samples(sequence[n : n + 1], which)] = None
                pieces[samples(sequence[: n + 1], which)] = None
        for i in range(len(parsed)):
            heads[samples(parsed[:i], which)] = None
    short = [piece for piece in pieces if 0 < len(piece) <= 40][:24]
    for piece in short:
        yield "", piece, "\x00"
    for head in [head for head in heads if 0 < len(head) <= 40][:3]:
        for piece in [piece for piece in short if len(piece) == 1]:
            yield head, piece, "\x00"


#: Held against one place of a row, never looked for.
AT_ONE_PLACE = [rows._quoted(quote, delimiter) for quote, delimiter in ('",', "';", '"\t', "~|")]
#: Looked for in what this repository says, never in what is sent.
OF_OURS = {r"\\.|\[[^]]*\]\??|[ -]\??|."}


def seconds(pattern: re.Pattern[Any], text: Any, is_anchored: bool) -> float:
    """Of CPU, to look for it everywhere, or to hold it against the text, as its users do."""
    began = time.thread_time()
    if is_anchored:
        pattern.fullmatch(text)
        pattern.match(text)
    else:
        for _ in pattern.finditer(text):
            pass
    return time.thread_time() - began


def is_linear(pattern: re.Pattern[Any], is_anchored: bool, head: str, piece: str, end: str) -> bool:
    """Four times as much takes four times as long, not sixteen times; the best of three counts, so
    that a busy machine says nothing."""

    def best(length: int) -> float:
        text: Any = head + piece * (length // len(piece)) + end
        if isinstance(pattern.pattern, bytes):
            text = text.encode("latin-1", "ignore")
        taken = seconds(pattern, text, is_anchored)
        for _ in range(2 if SOON < taken < NEVER else 0):
            taken = min(taken, seconds(pattern, text, is_anchored))
        return taken

    once = best(LENGTH)
    return once <= SOON or (once < NEVER and best(4 * LENGTH) <= 9 * once)


def slow(pattern: re.Pattern[Any], is_anchored: bool = False) -> list[str]:
    return [
        f"{pattern.pattern!r}: {head!r} + {piece!r} over and over + {end!r}"
        for head, piece, end in texts(pattern)
        if not is_linear(pattern, is_anchored, head, piece, end)
    ]


# --- The rules ------------------------------------------------------------------------------------


def test_every_pattern_of_ours_takes_a_time_that_grows_as_the_text_does() -> None:
    looked_for = [each for each in everyone() if each.pattern not in OF_OURS]
    held_against = anchored()

    assert len(looked_for) > 80
    assert [each for pattern in looked_for for each in slow(pattern, pattern in held_against)] == []
    assert [each for pattern in AT_ONE_PLACE for each in slow(pattern, is_anchored=True)] == []


@pytest.mark.parametrize(
    "bad",
    [
        r"(://[^\s:/@]*):[^\s\"'<>]*@",
        r"\s+$",
        r"-\s*(?:€)?\s*\d",
        r"[^@]+@x\.[^@]+\.[^@]+z",
        rb"<.*>",
    ],
)
def test_one_that_is_not_would_be_seen(bad: Any) -> None:
    assert slow(re.compile(bad))
