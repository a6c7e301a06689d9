"""The API's description in OpenAPI."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic.json_schema import models_json_schema

from pipeline.intake.schema import OrderIn
from web.api import models, shapes, shop_models, webhook_models

_REF = "#/components/schemas/{model}"
#: Those that routes read, or answer, by themselves.
_MODELS = (
    OrderIn, models.RefundIn, models.FulfilmentIn, models.ReturnIn, shapes.Fulfilled,
    shapes.Returned, shapes.Problem, shapes.Accepted, shapes.Order,
    shop_models.ProductIn, shop_models.AdjustmentIn, shop_models.CountIn, shop_models.Run,
    webhook_models.EndpointIn, webhook_models.EndpointMade, webhook_models.Delivery,
)  # fmt: skip

SUMMARY = """Orders in, and what became of them. Every call bears a key; every answer that is no
success is a problem as in RFC 9457. docs/api.md says the rest."""


def describe(app: FastAPI) -> dict[str, Any]:
    """The description, made once."""
    if app.openapi_schema is None:
        made = get_openapi(title="Ordermill", version="1", description=SUMMARY, routes=app.routes)
        schemas = made.setdefault("components", {}).setdefault("schemas", {})
        _, ours = models_json_schema(
            [(model, "validation") for model in _MODELS], ref_template=_REF
        )
        for name, schema in ours["$defs"].items():
            schemas.setdefault(name, schema)
        for name in ("HTTPValidationError", "ValidationError"):
            schemas.pop(name, None)  # FastAPI's own form of a problem, which we don't use
        app.openapi_schema = made
    return app.openapi_schema
