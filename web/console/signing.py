"""Signing in and out. Attempts are counted before a password is looked at, in the database."""

from __future__ import annotations

import secrets
from http import HTTPStatus

from fastapi import APIRouter, Request
from fastapi.concurrency import run_in_threadpool
from fastapi.responses import HTMLResponse, RedirectResponse, Response

from pipeline.operators import is_password
from pipeline.storage import operators, operators_log
from web.console.guard import (
    Caller,
    Console,
    Viewer,
    cookie_name,
    is_private,
    read_form,
    session_cookie,
)
from web.console.render import render
from web.networks import network_of

router = APIRouter()

#: Attempts in a quarter of an hour: by one network at one name, and by one network.
AT_ONE_NAME, BY_ONE_ADDRESS = 10, 50
#: After so many at one name from everywhere each network has only a few: strangers who guess from
#: many places are slowed down, and the operator is not locked out by them.
FROM_ALL, BESIDE_STRANGERS = 100, 3
#: Of who is signed in, to confirm something: by session, so that no stranger uses them up.
OF_ONE_SESSION = 10
RETRY_AFTER = int(operators.WINDOW)
WRONG = "Wrong name or password."
TOO_OFTEN = "Too many attempts. Wait a quarter of an hour, then try again."


@router.get("/sign-in")
def ask(request: Request, next: str = "") -> Response:
    return _form(request, then=next)


@router.post("/sign-in")
async def sign_in(request: Request) -> Response:
    form = await read_form(request)
    return await run_in_threadpool(_sign_in, request, form)


def _sign_in(request: Request, form: dict[str, str]) -> Response:
    console: Console = request.app.state.console
    name, given, then = form.get("name", ""), form.get("password", ""), form.get("next", "")
    if not is_private(request):
        return _form(request, name, then, HTTPStatus.FORBIDDEN)
    if not is_allowed(console, request, name):
        answer = _form(request, name, then, HTTPStatus.TOO_MANY_REQUESTS, TOO_OFTEN)
        answer.headers["Retry-After"] = str(RETRY_AFTER)
        return answer
    with console.app.database.snapshot() as tx:
        found = operators.one(tx, name)
    known = found is not None and found.disabled_at is None
    if not is_password(found.password if known else None, given):
        return _form(request, name, then, HTTPStatus.FORBIDDEN, WRONG)
    session_id = secrets.token_urlsafe(32)
    with console.app.database.transaction() as tx:
        # A new id at each sign-in: one that a stranger has planted is worth nothing.
        operators.sign_out(tx, session_cookie(request))
        operators.sign_in(tx, found.id, session_id, secrets.token_urlsafe(32))
        operators.pardon(tx, _pair(request, name))
        operators_log.add(tx, name, "sign-in", _address(request))
    answer = RedirectResponse(_ours(then), HTTPStatus.SEE_OTHER)
    answer.set_cookie(
        cookie_name(request), session_id, path="/", httponly=True, samesite="lax",
        secure=request.scope["scheme"] == "https",
    )  # fmt: skip
    return answer


def is_allowed(console: Console, request: Request, name: str) -> bool:
    """Whether this attempt may be looked at; it counts either way."""
    pair, network, everywhere = (
        _pair(request, name),
        f"address\0{network_of(_address(request))}",
        f"name\0{name}",
    )
    with console.app.database.transaction() as tx:
        made = operators.attempt(tx, [pair, network, everywhere])
    at_one_name = AT_ONE_NAME if made[everywhere] <= FROM_ALL else BESIDE_STRANGERS
    return made[pair] <= at_one_name and made[network] <= BY_ONE_ADDRESS


def is_confirmed(caller: Caller, seconds: float = 300.0) -> bool:
    """Whether the password was given lately: money that goes back asks for it again."""
    with caller.read() as tx:
        return operators.is_confirmed(tx, caller.session_id, seconds)


def confirm(caller: Caller) -> str | None:
    """Look at the password that the form has, unless it was given lately; what is wrong, or None."""
    if is_confirmed(caller):
        return None
    tries = f"session\0{caller.session_id}"
    with caller.app.database.transaction() as tx:
        made = operators.attempt(tx, [tries])
    if made[tries] > OF_ONE_SESSION:
        return TOO_OFTEN
    with caller.read() as tx:
        found = operators.one(tx, caller.name)
    if not is_password(found.password, caller.form.get("password", "")):
        return "Wrong password."
    with caller.app.database.transaction() as tx:
        operators.pardon(tx, tries)
        operators.confirm(tx, caller.session_id)
    return None


@router.get("/me")
def me(caller: Viewer) -> Response:
    return caller.page("me.html")


@router.post("/sign-out")
def sign_out(caller: Viewer) -> Response:
    with caller.app.database.transaction() as tx:
        operators.sign_out(tx, caller.session_id)
        operators_log.add(tx, caller.name, "sign-out")
    return _signed_out(caller)


@router.post("/sign-out-everywhere")
def sign_out_everywhere(caller: Viewer) -> Response:
    with caller.app.database.transaction() as tx:
        ended = operators.sign_out_everywhere(tx, caller.operator_id)
        operators_log.add(tx, caller.name, "sign-out-everywhere", detail={"sessions": ended})
    return _signed_out(caller)


def _signed_out(caller: Caller) -> Response:
    answer = RedirectResponse("/console/sign-in", HTTPStatus.SEE_OTHER)
    answer.delete_cookie(
        cookie_name(caller.request), path="/", httponly=True, samesite="lax",
        secure=caller.request.scope["scheme"] == "https",
    )  # fmt: skip
    return answer


def _form(
    request: Request, name: str = "", then: str = "", status: int = 200, wrong: str = ""
) -> Response:
    console: Console = request.app.state.console
    with console.app.database.snapshot() as tx:
        anybody = bool(operators.all_operators(tx))
    body = render(
        "sign_in.html", name=name, next=then, wrong=wrong, private=is_private(request),
        anybody=anybody,
    )  # fmt: skip
    return HTMLResponse(body, status)


def _ours(where: str) -> str:
    """`where`, if it is a page of the console; its overview if not."""
    # By its letters, not as a URL: browsers and urlsplit read ///host differently.
    is_ours = where.startswith(("/console/", "/console?")) and "\\" not in where
    return where if is_ours and where.isprintable() else "/console/"


def _address(request: Request) -> str:
    return request.client.host if request.client else "nowhere"


def _pair(request: Request, name: str) -> str:
    return f"both\0{network_of(_address(request))}\0{name}"
