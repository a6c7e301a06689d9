"""Sources: upstream systems and what their policies say."""

from __future__ import annotations

from fastapi import APIRouter
from fastapi.responses import Response

from pipeline.source import Policy
from pipeline.storage import sources as storage
from pipeline.storage import webhooks
from web.console.guard import Viewer
from web.console.webhooks import told

router = APIRouter(prefix="/sources")


@router.get("")
def sources(caller: Viewer) -> Response:
    with caller.read() as tx:
        found = list(storage.all_sources(tx).values())
    return caller.page("sources.html", sources=found)


@router.get("/{name}")
def one(caller: Viewer, name: str) -> Response:
    with caller.read() as tx:
        found = storage.by_name(tx, name)
        endpoints = [told(each) for each in webhooks.all_endpoints(tx, found.id)]
    default = Policy().model_dump(mode="json")
    policy = [
        {
            "key": key,
            "value": value,
            "is_default": value == default[key],
            "means": Policy.model_fields[key].description,
        }
        for key, value in found.policy.model_dump(mode="json").items()
    ]
    return caller.page("source.html", source=found, policy=policy, endpoints=endpoints)
