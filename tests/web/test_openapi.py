"""The API as it is described: whatever is sent, no answer is a 5xx or one that isn't described."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import hypothesis
import pytest
import schemathesis
from fastapi import FastAPI
from hypothesis import HealthCheck, Phase
from hypothesis.errors import Unsatisfiable
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)
from starlette.testclient import TestClient

from tests.support import Mill
from tests.web.conftest import MakeKey
from web.api import examples

pytestmark = pytest.mark.parametrize("database", ["sqlite"], indirect=True)

#: Generated requests for each call and whose key it is.
MOST = 12
CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
]


def operations(app: FastAPI) -> list[Any]:
    """Every call that is described, but for the stream: its body is none that JSON Schema describes."""
    schema = schemathesis.openapi.from_asgi("/openapi.json", app)
    found = [result.ok() for result in schema.get_all_operations()]
    return [op for op in found if op.path != "/v1/orders/batch"]


@pytest.mark.timeout(600)  # every call, hundreds of times: over a minute where the machine is busy
@pytest.mark.parametrize("whose", ["shop", None], ids=["source", "operator"])
def test_whatever_is_sent_is_answered_as_described(
    app: FastAPI, shop: Mill, make_key: MakeKey, whose: str | None
) -> None:
    shop.accept()
    shop.turn()
    shop.accept()
    headers = {"Authorization": f"Bearer {make_key(whose)}"}

    for operation in operations(app):
        _try(operation, headers)


def _try(operation: Any, headers: dict[str, str]) -> None:
    settings = hypothesis.settings(
        max_examples=MOST, deadline=None, database=None, derandomize=True,
        phases=[Phase.explicit, Phase.generate], suppress_health_check=list(HealthCheck),
    )  # fmt: skip
    for mode in (schemathesis.GenerationMode.POSITIVE, schemathesis.GenerationMode.NEGATIVE):

        @settings
        @hypothesis.given(case=operation.as_strategy(generation_mode=mode))
        def answers_as_described(case: Any) -> None:
            case.call_and_validate(headers=headers, checks=CHECKS)

        # Of a call that takes anything, or nothing, there is no wrong one.
        allowed = Unsatisfiable if mode is schemathesis.GenerationMode.NEGATIVE else ()
        try:
            answers_as_described()
        except allowed:
            print(operation.label, "can't be called wrongly")


def test_every_call_has_a_name_a_sentence_and_its_answers(app: FastAPI) -> None:
    described = [
        told for operations in app.openapi()["paths"].values() for told in operations.values()
    ]

    names = [told["operationId"] for told in described]
    assert len(set(names)) == len(names)
    for told in described:
        assert told["description"], told["operationId"]
        if "security" in told:
            assert {"401", "403", "422", "429", "503"} <= set(told["responses"])
        if "requestBody" in told and told["operationId"] != "receiveGatewayEvent":
            [content] = told["requestBody"]["content"].values()
            assert content["example"]


def test_the_examples_are_good(operator: TestClient, client: TestClient, shop: Mill) -> None:
    key = {"Idempotency-Key": "k"}
    ndjson = {"Content-Type": "application/x-ndjson"}

    placed = client.post("/v1/orders", json=examples.ORDER)
    batch = client.post("/v1/orders/batch", content=examples.NDJSON, headers=ndjson)
    shop.turn()
    answers = [
        client.post(
            "/v1/orders/1/refunds", json={**examples.REFUND, "shipping": False}, headers=key
        ),
        client.post("/v1/orders/2/fulfilments", json=examples.FULFILMENT),
        client.post("/v1/orders/2/returns", json=examples.RETURN),
        client.post("/v1/quotes", json=examples.ORDER),
        client.post("/v1/webhooks", json=examples.WEBHOOK, headers={"Idempotency-Key": "hook"}),
        operator.put("/v1/products/MUG-01", json=examples.PRODUCT),
        operator.post("/v1/stock/adjustments", json=examples.ADJUSTMENT, headers=key),
        operator.post("/v1/stock/counts", json=examples.COUNT),
    ]

    assert placed.status_code == 202
    assert batch.text == examples.VERDICTS
    assert [answer.status_code for answer in answers] == [202, 201, 201, 200, 201, 200, 200, 200]


def test_the_page_shows_each_call(app: FastAPI) -> None:
    page = (Path(__file__).parents[2] / "docs" / "api.md").read_text("utf-8")

    for path, described in app.openapi()["paths"].items():
        for method in described:
            assert f"`{method.upper()} {path}`" in page
