"""What the API's routes share: errors of the pipeline as problems, and how each is described."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from http import HTTPStatus
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import Response
from fastapi.routing import APIRoute
from pydantic import BaseModel

from pipeline.errors import InvalidInput
from pipeline.intake.schema import InvalidOrder
from web.problems import MEDIA_TYPE, invalid, refusal_of


class Route(APIRoute):
    """A route whose InvalidInput is answered as the API does."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handle = super().get_route_handler()

        async def handle_or_refuse(request: Request) -> Response:
            try:
                return await handle(request)
            except InvalidOrder as error:
                raise invalid(error.problems, error.more) from None
            except InvalidInput as error:
                raise refusal_of(error) from None

        return handle_or_refuse


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Answers that are problems, for `responses`."""
    schema = {"schema": {"$ref": "#/components/schemas/Problem"}}
    return {
        status: {"description": HTTPStatus(status).phrase, "content": {MEDIA_TYPE: schema}}
        for status in statuses
    }


#: What any call may be answered.
ALWAYS = problems(401, 403, 422, 429, 503)
#: What one with a body may be answered, too.
WITH_BODY = problems(400, 408, 413, 415)


def router_of(tag: str) -> APIRouter:
    return APIRouter(prefix="/v1", tags=[tag], route_class=Route, responses=ALWAYS)


def takes(model: type[BaseModel] | str, example: Any, media: str = "application/json") -> Any:
    """The body that a route reads by itself, for `openapi_extra`."""
    schema = (
        {"type": "string"} if isinstance(model, str)
        else {"$ref": f"#/components/schemas/{model.__name__}"}
    )  # fmt: skip
    content = {media: {"schema": schema, "example": example}}
    return {"requestBody": {"required": True, "content": content}}


def answers(status: int, description: str, model: type[BaseModel], **headers: str) -> Any:
    """An answer in JSON that a route makes by itself, for `responses`."""
    content = {"application/json": {"schema": {"$ref": f"#/components/schemas/{model.__name__}"}}}
    told = {
        name.replace("_", "-"): {"description": text, "schema": {"type": "string"}}
        for name, text in headers.items()
    }
    return {status: {"description": description, "content": content, "headers": told}}
