"""Errors as RFC 9457 says: application/problem+json, with our sentence as the detail."""

from __future__ import annotations

from http import HTTPStatus

from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse, Response
from sqlalchemy.exc import DBAPIError
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from pipeline.errors import InvalidInput, UnknownGateway

AWAY_SECONDS = 5


def problem(status: int, detail: str, headers: dict[str, str] | None = None) -> Response:
    """The answer with that status. `detail` goes to whoever asked: nothing secret."""
    body = {"title": HTTPStatus(status).phrase, "status": status, "detail": detail}
    return JSONResponse(body, status, headers, "application/problem+json")


def answer_with_problems(app: FastAPI) -> None:
    """Let errors that routes raise become problems."""

    @app.exception_handler(UnknownGateway)
    def unknown(_: Request, error: UnknownGateway) -> Response:
        return problem(HTTPStatus.NOT_FOUND, str(error))

    @app.exception_handler(InvalidInput)
    def invalid(_: Request, error: InvalidInput) -> Response:
        return problem(HTTPStatus.BAD_REQUEST, str(error))

    @app.exception_handler(HTTPException)
    def http(_: Request, error: HTTPException) -> Response:
        return problem(error.status_code, error.detail, dict(error.headers or {}))

    @app.exception_handler(DBAPIError)
    def away(_: Request, error: DBAPIError) -> Response:
        # Whoever asked comes again: gateways repeat what they were not told we have.
        return problem(
            HTTPStatus.SERVICE_UNAVAILABLE,
            "the database can't be used just now",
            {"Retry-After": str(AWAY_SECONDS)},
        )

    @app.exception_handler(ClientDisconnect)
    def gone(_: Request, error: ClientDisconnect) -> Response:
        return problem(HTTPStatus.BAD_REQUEST, "the client hung up")  # heard by nobody

    @app.exception_handler(Exception)
    def defect(_: Request, error: Exception) -> Response:
        return problem(HTTPStatus.INTERNAL_SERVER_ERROR, "a defect; the log has it")
