"""A client of the HTTP API, for threads and for asyncio: docs/client.md.

Needs httpx and pydantic, and none of the engine that it talks to.
"""

from ordermill.client.clients import AsyncClient, Client
from ordermill.client.errors import (
    ApiError,
    BatchInterrupted,
    Conflict,
    Forbidden,
    Invalid,
    KeyReused,
    NoAnswer,
    NotAllowedNow,
    NotFound,
    NotSettled,
    OrdermillError,
    RateLimited,
    ServerError,
    Unauthenticated,
    Unavailable,
    VersionPassed,
)
from ordermill.client.given import NewOrder
from ordermill.client.steps import Retries
from pipeline.order import Status
from web.api.shapes import (
    Accepted,
    Decided,
    Event,
    Feed,
    FeedEvent,
    FieldError,
    Level,
    Levels,
    Line,
    Order,
    OrderRow,
    Product,
    Quote,
    Refund,
    Verdict,
)

__all__ = [
    "Accepted",
    "ApiError",
    "AsyncClient",
    "BatchInterrupted",
    "Client",
    "Conflict",
    "Decided",
    "Event",
    "Feed",
    "FeedEvent",
    "FieldError",
    "Forbidden",
    "Invalid",
    "KeyReused",
    "Level",
    "Levels",
    "Line",
    "NewOrder",
    "NoAnswer",
    "NotAllowedNow",
    "NotFound",
    "NotSettled",
    "Order",
    "OrderRow",
    "OrdermillError",
    "Product",
    "Quote",
    "RateLimited",
    "Refund",
    "Retries",
    "ServerError",
    "Status",
    "Unauthenticated",
    "Unavailable",
    "Verdict",
    "VersionPassed",
]
