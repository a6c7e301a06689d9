"""Who is asking, and may he: each route of the console has a `Viewer`, `Operator` or `Admin`.

A request has a session or is sent to sign in; a form comes from a page of ours (Origin) and bears
the session's token. What is done goes into the operators' log in the transaction that does it.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from http import HTTPStatus
from ipaddress import ip_address
from typing import Annotated, Any, TypeVar
from urllib.parse import parse_qsl, urlsplit

from fastapi import Depends, HTTPException, Path, Query, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import HTMLResponse, RedirectResponse, Response

from pipeline.acts import Act, act
from pipeline.assembly import Application
from pipeline.errors import InvalidInput
from pipeline.operators import Role
from pipeline.storage import operators
from pipeline.storage.database import Tx
from web.bodies import read_body
from web.console.live import Live
from web.console.pulse import Pulse
from web.console.render import render

T = TypeVar("T")

#: Of a form, in bytes.
LONGEST = 64_000


class SignInFirst(Exception):
    """Nobody is signed in; `then` is where to go afterwards."""

    def __init__(self, then: str = "") -> None:
        super().__init__("sign in first")
        self.then = then


class Changed(InvalidInput):
    """Somebody, or the engine, was there in between; or the same form was sent before."""

    def __init__(self, what: str) -> None:
        super().__init__(
            f"{what} has changed since the page was made; nothing was done. "
            "Look at it again, and repeat it if it is still right"
        )


class _OnlyLooked(Exception):
    """Rolls back what was tried to see what it would do."""


class Console:
    """What all of the console's routes share."""

    def __init__(self, application: Application, jobs: Mapping[str, Any]) -> None:
        self.app = application
        self.jobs = jobs
        self.pulse = Pulse(application.database, tuple(jobs))
        self.live = Live(lambda: render("pulse.html", pulse=self.pulse.beat()))


@dataclass(frozen=True, slots=True)
class Caller:
    """The operator who asks, and what he sent in a form."""

    console: Console
    request: Request
    session_id: str
    operator_id: int
    name: str
    role: Role
    csrf: str
    flash: str | None
    form: Mapping[str, str] = field(default_factory=dict)

    @property
    def app(self) -> Application:
        return self.console.app

    @property
    def actor(self) -> str:
        """As timelines have it."""
        return f"operator:{self.name}"

    def may(self, role: str) -> bool:
        return self.role.may(Role(role))

    @contextmanager
    def read(self) -> Iterator[Tx]:
        with self.app.database.snapshot() as tx:
            yield tx

    def act(self, action: str, target: object = None, **detail: Any) -> AbstractContextManager[Act]:
        """A transaction that does something in this operator's name."""
        return act(self.app.database, self.name, action, target, **detail)

    def tried(self, do: Callable[[Tx], T]) -> T:
        """What `do` would do: it is done, and rolled back. Raises what it raises."""
        made: list[T] = []
        try:
            with self.app.database.transaction() as tx:
                made.append(do(tx))
                raise _OnlyLooked
        except _OnlyLooked:
            return made[0]

    def page(self, template: str, status: int = 200, **context: Any) -> Response:
        if self.flash:
            with self.app.database.transaction() as tx:
                operators.flash(tx, self.session_id, None)
        path = self.request.scope["path"]
        shared = {"me": self, "flash": self.flash, "path": path, "on_hold": self.console.pulse.held}
        body = render(template, **shared, **context)
        return HTMLResponse(body, status)

    def done(self, where: str, says: str) -> Response:
        """After a form: to a page that can be loaded again without doing it again."""
        with self.app.database.transaction() as tx:
            operators.flash(tx, self.session_id, says)
        return RedirectResponse(where, HTTPStatus.SEE_OTHER)


#: What numbers of orders, runs and entries can be.
Number = Annotated[int, Path(ge=1, lt=2**63)]
Before = Annotated[int | None, Query(ge=1, lt=2**63)]


def needs(role: Role) -> Callable[[Request], Any]:
    """A dependency: the caller, if he is signed in and his role will do."""

    async def caller(request: Request) -> Caller:
        console: Console = request.app.state.console
        if "%00" in _query(request) or "\0" in request.scope["path"]:
            raise HTTPException(HTTPStatus.BAD_REQUEST, "An address has no NUL in it.")
        session_id = session_cookie(request)
        if request.method == "POST":
            form = await read_form(request)
        else:
            form = {}
        found = await run_in_threadpool(_session, console, session_id, _is_activity(request))
        if found is None:
            raise SignInFirst(_came_for(request))
        if request.method == "POST" and not secrets.compare_digest(
            form.pop("csrf", "").encode(), found.csrf.encode()
        ):
            raise HTTPException(
                HTTPStatus.FORBIDDEN, "This form is not of your session. Go back, load the page "
                "again, and repeat what you did.",
            )  # fmt: skip
        if not Role(found.role).may(role):
            raise HTTPException(
                HTTPStatus.FORBIDDEN,
                f"This takes the role {role}; {found.name} has the role {found.role}.",
            )
        return Caller(
            console, request, session_id, found.id, found.name, Role(found.role), found.csrf,
            found.flash, form,
        )  # fmt: skip

    return caller


Viewer = Annotated[Caller, Depends(needs(Role.VIEWER))]
Operator = Annotated[Caller, Depends(needs(Role.OPERATOR))]
Admin = Annotated[Caller, Depends(needs(Role.ADMIN))]


def _session(console: Console, session_id: str, is_activity: bool) -> Any:
    if not session_id:
        return None
    with console.app.database.snapshot() as tx:
        found = operators.session(tx, session_id)
    if found is not None and found.is_stale and is_activity:
        with console.app.database.transaction() as tx:
            operators.touch(tx, session_id)
    return found


def _is_activity(request: Request) -> bool:
    """A page that is left open keeps nobody signed in."""
    return not request.scope["path"].endswith("/live")


def _query(request: Request) -> str:
    """Not by `request.url`: that can't be made where the header Host is no host."""
    asked: bytes = request.scope["query_string"]
    return asked.decode("latin-1")


def _came_for(request: Request) -> str:
    if request.method != "GET" or request.scope["path"].endswith("/live"):
        return ""
    query = f"?{asked}" if (asked := _query(request)) else ""
    path: str = request.scope["path"]
    return path + query


async def read_form(request: Request) -> dict[str, str]:
    """A form of ours, sent from a page of ours; 403 if it comes from elsewhere."""
    origin = request.headers.get("origin") or request.headers.get("referer", "")
    if _host_in(origin) != request.headers.get("host", ""):
        raise HTTPException(HTTPStatus.FORBIDDEN, "This form comes from another site.")
    kind = request.headers.get("content-type", "").partition(";")[0]
    if kind != "application/x-www-form-urlencoded":
        raise HTTPException(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "Expected a form.")
    body = await read_body(request, LONGEST)
    try:
        pairs = parse_qsl(body.decode(), keep_blank_values=True, max_num_fields=1_000)
    except ValueError:
        raise HTTPException(HTTPStatus.BAD_REQUEST, "The form can't be read.") from None
    if any("\0" in value for _, value in pairs):
        raise HTTPException(HTTPStatus.BAD_REQUEST, "A field has a NUL in it.")
    return dict(pairs)


def is_private(request: Request) -> bool:
    """Whether nobody in between can read along: TLS, or the same machine."""
    if request.scope["scheme"] == "https":
        return True
    name = ""
    try:
        name = request.url.hostname or ""
        return ip_address(name).is_loopback
    except ValueError:
        return name == "localhost"


def _host_in(origin: str) -> str | None:
    """The host and port of a URL; None if it is none."""
    try:
        return urlsplit(origin).netloc
    except ValueError:
        return None


def session_cookie(request: Request) -> str:
    """The session's id that the browser has, or "". Read here, as Python's own way with cookies
    takes the square of the time for one in quotes, and anybody may send a long one."""
    name = cookie_name(request)
    for each in request.headers.get("cookie", "").split(";"):
        given, _, value = each.strip().partition("=")
        if given == name:
            return value.strip('"')[:128]
    return ""


def cookie_name(request: Request) -> str:
    """Browsers take __Host- cookies from this host alone, over TLS alone."""
    return "__Host-ordermill" if request.scope["scheme"] == "https" else "ordermill"
