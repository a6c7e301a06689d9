"""Each answer that is no success is an error that can be told from the others."""

from __future__ import annotations

import json

import ordermill_client as client
import pytest
from ordermill_client import errors
from ordermill_client.errors import api_error

from web.problems import TYPES, type_of


@pytest.mark.parametrize(
    ("status", "kind", "expected"),
    [
        (400, "malformed", errors.ApiError),
        (401, "unauthenticated", errors.Unauthenticated),
        (403, "forbidden", errors.Forbidden),
        (404, "", errors.NotFound),
        (405, "", errors.ApiError),
        (409, "", errors.ApiError),
        (409, "conflict", errors.Conflict),
        (409, "not-allowed-now", errors.NotAllowedNow),
        (412, "version-passed", errors.VersionPassed),
        (413, "", errors.ApiError),
        (422, "invalid", errors.Invalid),
        (422, "key-reused", errors.KeyReused),
        (422, "a-kind-of-tomorrow", errors.ApiError),
        (429, "rate-limited", errors.RateLimited),
        (500, "", errors.ServerError),
        (502, "", errors.Unavailable),
        (503, "unavailable", errors.Unavailable),
    ],
)
def test_each_kind_of_problem_is_an_error(
    status: int, kind: str, expected: type[errors.ApiError]
) -> None:
    body = json.dumps({"type": type_of(kind), "title": "T", "status": status, "detail": "d"})

    found = api_error(status, {"x-request-id": "r1"}, body.encode())

    assert type(found) is expected
    assert (found.status, found.request_id, str(found)) == (status, "r1", f"{status} T: d")


def test_every_kind_of_the_api_s_has_an_error_of_its_own() -> None:
    assert set(TYPES) == set(errors._BY_KIND) | {"malformed"}


def test_an_error_names_every_bad_field_and_what_else_the_problem_says() -> None:
    body = {
        "type": type_of("invalid"), "title": "Fields are wrong", "status": 422, "detail": "wrong",
        "errors": [
            {"field": "currency", "value": '"EURO"', "expected": "an ISO 4217 currency code"},
            {"field": "lines.0.quantity", "value": "0", "expected": "greater than 0"},
        ],
        "why": {"sku": "MUG-01"},
    }  # fmt: skip

    found = api_error(422, {"retry-after": "5"}, json.dumps(body).encode())

    assert [e.field for e in found.errors] == ["currency", "lines.0.quantity"]
    assert (found.kind, found.retry_after) == ("invalid", 5.0)
    assert found.members["why"] == {"sku": "MUG-01"}
    assert str(found) == (
        '422 Fields are wrong: currency: got "EURO", expected an ISO 4217 currency code; '
        "lines.0.quantity: got 0, expected greater than 0"
    )


@pytest.mark.parametrize(
    "body", [b"", b"<html>502</html>", b"[]", b"[" * 10_000, b'{"type": 7, "errors": "many"}']
)
def test_what_something_between_us_answers_is_an_error_too(body: bytes) -> None:
    found = api_error(502, {}, body)

    assert isinstance(found, errors.Unavailable)
    assert (found.type, found.title, found.errors) == ("about:blank", "Bad Gateway", ())


def test_the_tree_at_the_top_of_the_file_is_the_tree() -> None:
    drawn = [
        line.split("── ")[1].split()[0] for line in errors.__doc__.splitlines() if "── " in line
    ]  # type: ignore[union-attr]

    def below(error: type[Exception]) -> list[str]:
        return [n for sub in error.__subclasses__() for n in (sub.__name__, *below(sub))]

    assert drawn == below(errors.OrdermillError)
    assert set(drawn) <= set(client.__all__)
