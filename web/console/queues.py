"""Queues: what waits where; pause and resume."""

from __future__ import annotations

from http import HTTPStatus

from fastapi import APIRouter, HTTPException
from fastapi.responses import Response

from pipeline.chain import STEPS
from pipeline.storage import queues as storage
from web.console.guard import Caller, Operator, Viewer

router = APIRouter(prefix="/queues")


@router.get("")
def queues(caller: Viewer) -> Response:
    return caller.page("queues.html", pulse=caller.console.pulse.beat())


@router.get("/{step}/pause")
def ask_pause(caller: Operator, step: str) -> Response:
    says = [
        "Nothing more is taken from this queue, by any worker; what is in hand is finished.",
        "Orders that come to it wait. It holds over restarts, until somebody resumes it.",
    ]
    return _ask(caller, _known(step), "pause", says)


@router.get("/{step}/resume")
def ask_resume(caller: Operator, step: str) -> Response:
    return _ask(caller, _known(step), "resume", ["Workers take what is due from it again."])


def _ask(caller: Caller, step: str, act: str, says: list[str]) -> Response:
    return caller.page(
        "confirm.html", title=f"{act.capitalize()} {step}", says=says, button=act.capitalize(),
        action=f"/console/queues/{step}/{act}", back="/console/queues", fields={}, password=False,
        wrong="", danger=act == "pause",
    )  # fmt: skip


@router.post("/{step}/pause")
def pause(caller: Operator, step: str) -> Response:
    with caller.act("queue.pause", _known(step)) as act:
        done = storage.pause(act.tx, step, caller.actor)
        act.detail["changed"] = done
    return _back(caller, f"{step} is paused." if done else f"{step} was paused already.")


@router.post("/{step}/resume")
def resume(caller: Operator, step: str) -> Response:
    with caller.act("queue.resume", _known(step)) as act:
        done = storage.resume(act.tx, step)
        act.detail["changed"] = done
    return _back(caller, f"{step} goes on." if done else f"{step} was not paused.")


def _back(caller: Caller, says: str) -> Response:
    caller.console.pulse.forget()
    return caller.done("/console/queues", says)


def _known(step: str) -> str:
    if step not in STEPS:
        raise HTTPException(HTTPStatus.NOT_FOUND, "There is no queue of that name.")
    return step
