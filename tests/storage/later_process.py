"""What `later_lists` does once the lists lack something: commands, requests, turns of the mill."""

from __future__ import annotations

import contextlib
import io
import sys
from collections.abc import Sequence
from typing import Any

from starlette.testclient import TestClient

from ordermill import output
from ordermill.main import main as ordermill
from pipeline import access
from pipeline.access import OF_SOURCES
from pipeline.assembly import assemble
from pipeline.payments.sandbox import SandboxGateway
from pipeline.settings import load_settings
from pipeline.storage import sources
from scheduler.table import JOBS
from tests.support import Mill
from web.app import create_app


class _Silent:
    def announce(self, step: str, dispatch_id: int) -> None: ...


def do(steps: Sequence[Sequence[Any]]) -> list[tuple[int, str]]:
    output.console.width = 250
    return [_DO[kind](*arguments) for kind, *arguments in steps]


def _run(command: str) -> tuple[int, str]:
    sys.argv = ["ordermill", *command.split()]
    told = io.StringIO()
    with contextlib.redirect_stdout(told), contextlib.redirect_stderr(told):
        try:
            ordermill()
        except SystemExit as ended:
            return int(ended.code or 0), told.getvalue()
    return 0, told.getvalue()


def _ask(method: str, path: str, body: Any = None) -> tuple[int, str]:
    app = assemble(load_settings(), _Silent())
    try:
        with app.database.transaction() as tx:
            key = access.create(tx, "later", "test", source="shop", scopes=OF_SOURCES)
        client = TestClient(create_app(app, JOBS), raise_server_exceptions=False)
        headers = {"Authorization": f"Bearer {key}"}
        answer = client.request(method, path, json=body, headers=headers)
        return answer.status_code, answer.text
    finally:
        app.close()


def _turn() -> tuple[int, str]:
    settings = load_settings()
    app = assemble(settings, _Silent())
    try:
        with app.database.snapshot() as tx:
            policy = sources.by_name(tx, "shop").policy
        Mill(app.database, gateway=SandboxGateway(settings.sandbox_book), policy=policy).turn()
    finally:
        app.close()
    return 0, ""


_DO = {
    "run": _run,
    "turn": _turn,
    "get": lambda path: _ask("GET", path),
    "post": lambda path, body: _ask("POST", path, body),
}
