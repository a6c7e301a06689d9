"""Both clients, called alike: each test's one body is run by the one that waits and the one that awaits."""

from __future__ import annotations

import asyncio
import inspect
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import httpx
import pytest
from ordermill_client import AsyncClient, Client, Retries

from pipeline.assembly import Application
from pipeline.storage.database import Database
from tests.conftest import sqlite_database, sqlite_template  # noqa: F401 - fixtures
from tests.support import Mill
from tests.web.conftest import app, application, gateway, make_key, shop  # noqa: F401 - fixtures
from tests.web.console.serving import serving

#: As the defaults, in a hundredth of the time.
QUICK = Retries(within=20.0, first=0.002, longest=0.05)

MakeClient = Callable[..., Any]
Handler = Callable[[httpx.Request], httpx.Response]


class Waiting:
    """An AsyncClient whose answers are waited for."""

    def __init__(self, client: AsyncClient, runner: asyncio.Runner) -> None:
        self._client, self._runner = client, runner

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._client, name)
        return (lambda *a, **k: self._wait(found(*a, **k))) if callable(found) else found

    def __repr__(self) -> str:
        return repr(self._client)

    def _wait(self, outcome: Any) -> Any:
        if inspect.isawaitable(outcome):
            return self._runner.run(_awaited(outcome))
        return self._all(outcome) if isinstance(outcome, AsyncIterator) else outcome

    def _all(self, told: AsyncIterator[Any]) -> Iterator[Any]:
        end = object()
        while (item := self._runner.run(_awaited(anext(told, end)))) is not end:
            yield item


async def _awaited(outcome: Any) -> Any:
    return await outcome


@pytest.fixture(params=["sync", "async"])
def make_client(request: pytest.FixtureRequest) -> Iterator[MakeClient]:
    """Makes a client of one kind, then of the other: on a URL, or on a handler that stands for the
    API. It is closed at the end."""
    with ExitStack() as stack:
        runner = asyncio.Runner()

        def make(at: str | Handler = "", key: str = "om_live_x", **options: Any) -> Any:
            options = {"retries": QUICK, **options}
            url = at if isinstance(at, str) else "http://api.test"
            transport = None if isinstance(at, str) else httpx.MockTransport(at)
            if request.param == "sync":
                http = httpx.Client(transport=transport)
                stack.callback(http.close)
                return Client(url, key, http=http, **options)
            async_http = httpx.AsyncClient(transport=transport)
            stack.callback(lambda: runner.run(async_http.aclose()))
            return Waiting(AsyncClient(url, key, http=async_http, **options), runner)

        yield make
        stack.close()
        runner.close()


@pytest.fixture
def database(sqlite_database: Database) -> Database:  # noqa: F811
    """The client knows nothing of the server's databases: one is enough."""
    return sqlite_database


@pytest.fixture
def url(application: Application) -> Iterator[str]:  # noqa: F811
    with serving(application) as address:
        yield address


@contextmanager
def turning(mill: Mill) -> Iterator[None]:
    """A worker for the time being."""
    stop = threading.Event()

    def work() -> None:
        while not stop.wait(0.02):
            mill.turn()

    working = threading.Thread(target=work)
    working.start()
    try:
        yield
    finally:
        stop.set()
        working.join()
