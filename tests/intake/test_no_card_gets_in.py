"""No field of an order takes a card number, but for ids, which look like one too often. The fields
come from the schema, so that a new one is tested on the day it is made."""

from __future__ import annotations

import types
import typing
from collections.abc import Iterator
from typing import Annotated, Any, Union

import pytest
from pydantic import BaseModel

from pipeline.intake.schema import InvalidOrder, OrderIn, read_order
from tests.support import an_order

CARD = "4111 1111 1111 1111"
#: As the field might take it: bare, in a sentence, as an address.
WRITTEN = (CARD, CARD.replace(" ", ""), f"pay by {CARD} 12/27", "4111111111111111@example.com")

Path = tuple[str | int, ...]
#: In a path: here the text is the name of an entry, not its value.
NAME = "*"


def texts(kind: Any, path: Path = ()) -> Iterator[Path]:
    """Where in a value of type `kind` a text may stand."""
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin is Annotated:
        yield from texts(arguments[0], path)
    elif origin in (Union, types.UnionType):
        for member in arguments:
            yield from texts(member, path)
    elif origin in (list, tuple, set, frozenset):
        yield from texts(arguments[0], (*path, 0))
    elif origin is dict:
        yield (*path, NAME)
        yield from texts(arguments[1], (*path, "note"))
    elif isinstance(kind, type) and issubclass(kind, BaseModel):
        for name, field in kind.model_fields.items():
            yield from texts(field.annotation, (*path, name))
    elif kind not in (int, bool, float, type(None)):
        yield path


FIELDS = list(dict.fromkeys(texts(OrderIn)))
#: What systems make and know a thing by.
IDS: list[Path] = [("external_id",), ("lines", 0, "sku")]
CHECKED = [path for path in FIELDS if path not in IDS]


def placed(path: Path, text: str) -> Any:
    """`text` at `path`, in just so much around it."""
    if not path:
        return text
    first, *rest = path
    if first == NAME:
        return {text: "x"}
    if first == 0:
        return [placed(tuple(rest), text)]
    return {first: placed(tuple(rest), text)}


def test_the_fields_of_the_schema_are_found() -> None:
    assert {
        ("external_id",),
        ("customer", "email"),
        ("ship_to", "street"),
        ("bill_to", "postal_code"),
        ("lines", 0, "sku"),
        ("payment", "method"),
        ("metadata", NAME),
        ("metadata", "note"),
    } <= set(FIELDS)


@pytest.mark.parametrize("path", CHECKED, ids=lambda path: ".".join(map(str, path)))
@pytest.mark.parametrize("text", WRITTEN)
def test_no_field_takes_a_card_number_nor_is_it_echoed(path: Path, text: str) -> None:
    order = {**an_order(external_id="web-1"), **placed(path, text)}

    with pytest.raises(InvalidOrder) as refused:
        read_order(order)

    said = f"{refused.value} {refused.value.problems} {refused.value.external_id}"
    place = ".".join(map(str, path)).removesuffix(f".{NAME}")
    assert any(problem.field.startswith(place) for problem in refused.value.problems), said
    assert "4111…1111" in said
    assert "11111111" not in said.replace(" ", "")


@pytest.mark.parametrize("path", IDS, ids=lambda path: ".".join(map(str, path)))
@pytest.mark.parametrize("text", WRITTEN)
def test_an_id_is_taken_to_the_letter_whatever_it_looks_like(path: Path, text: str) -> None:
    document = read_order({**an_order(external_id="web-1"), **with_lines(placed(path, text))})

    assert text in document.body


def with_lines(changes: dict[str, Any]) -> dict[str, Any]:
    return {k: [{"quantity": 1, **v[0]}] if k == "lines" else v for k, v in changes.items()}
