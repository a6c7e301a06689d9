"""The client's types are those of the API: a field that one has and the other lacks is found here."""

from __future__ import annotations

from typing import Any

import ordermill_client
from fastapi import FastAPI
from ordermill_client import shapes

from pipeline.order import SETTLED, Status
from web.api.shapes import Verdict

#: Of no answer by itself: a page is described with what is on it.
WITHOUT_SCHEMA = {"Out", "Page"}
MODELS = sorted(
    name
    for name, kind in vars(shapes).items()
    if isinstance(kind, type) and issubclass(kind, shapes.Out) and name not in WITHOUT_SCHEMA
)


def test_each_shape_has_the_fields_and_types_that_the_api_describes(app: FastAPI) -> None:
    described = app.openapi()["components"]["schemas"]
    described["Verdict"] = (
        Verdict.model_json_schema()
    )  # a line of a stream: OpenAPI has no word for it

    assert [d for name in MODELS for d in _differences(name, described)] == []


def test_the_statuses_are_those_of_the_server() -> None:
    assert [str(each) for each in ordermill_client.Status] == [str(each) for each in Status]
    assert {str(each) for each in shapes.SETTLED} == {str(each) for each in SETTLED}


def test_a_status_that_this_version_does_not_know_is_the_server_s_word() -> None:
    answer = {"id": 1, "external_id": "a", "verdict": "accepted", "status": "screened"}

    assert shapes.Accepted.model_validate(answer).status == "screened"
    known = shapes.Accepted.model_validate({**answer, "status": "paid"}).status
    assert known is ordermill_client.Status.PAID


def _differences(name: str, described: dict[str, Any]) -> list[str]:
    if name not in described:
        return [f"the API describes no {name}"]
    model: type[shapes.Out] = getattr(shapes, name)
    ours = {k: _types(v) for k, v in model.model_json_schema()["properties"].items()}
    theirs = {k: _types(v) for k, v in described[name]["properties"].items()}
    return [
        f"{name}.{field}: {ours.get(field)}, and the API says {theirs.get(field)}"
        for field in sorted(ours.keys() | theirs.keys())
        if ours.get(field) != theirs.get(field)
    ]


def _types(field: dict[str, Any]) -> set[str]:
    """What may stand there, in words; an enumeration of words is text."""
    if "anyOf" in field:
        return {each for option in field["anyOf"] for each in _types(option)}
    if "$ref" in field:
        name = field["$ref"].rpartition("/")[2]
        return {"string"} if name in ("Status", "Kind") else {name}
    if field.get("type") == "array":
        return {f"list of {each}" for each in _types(field["items"])}
    return {field.get("format") or field.get("type") or "anything"}
