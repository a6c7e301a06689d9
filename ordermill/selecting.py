"""Orders by filter, on the command line: the options that `orders ls`, `requeue`, `cancel` and
`decide` share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from functools import wraps
from inspect import Parameter, Signature, signature
from typing import Annotated, Any

import typer

from ordermill.output import one_of
from pipeline import typed
from pipeline.chain import STEPS
from pipeline.storage.selection import Selection


def seconds(written: str | None, option: str = "--older-than") -> float | None:
    return typed.seconds(option, written)


Reason = Annotated[str | None, typer.Option(help="Only orders with this reason.")]
Stage = Annotated[
    str | None,
    typer.Option(parser=one_of(STEPS), metavar="STAGE", help="Only orders at this stage, or undo."),
]
FromSource = Annotated[str | None, typer.Option(help="Only orders of this source.")]
ExternalId = Annotated[
    str | None, typer.Option(help="Only the order the upstream system calls so.")
]
OlderThan = Annotated[
    str | None,
    typer.Option(metavar="TIME", help="Only orders held (or settled) so long: 30m, 1h, 2d."),
]
Sku = Annotated[
    str | None,
    typer.Option(
        help="Only orders for this SKU. `orders ls` is slow with it: it reads every order's document."
    ),
]
Email = Annotated[
    str | None,
    typer.Option(help="Only orders of this customer."),
]


def _selection(
    reason: Reason = None,
    stage: Stage = None,
    source: FromSource = None,
    external_id: ExternalId = None,
    older_than: OlderThan = None,
    sku: Sku = None,
    email: Email = None,
) -> Selection:
    return Selection(
        reason=reason, stage=stage, source=source, external_id=external_id,
        older_than=seconds(older_than), sku=sku, email=email,
    )  # fmt: skip


def asked_for(selection: Selection) -> dict[str, Any]:
    """What is set of a filter, for the operators' log."""
    return {name: value for name, value in asdict(selection).items() if value is not None}


def by_filter(command: Callable[..., None]) -> Callable[..., None]:
    """A command that is handed a `selection`, with the options that make one."""
    own = [p for p in _parameters(command) if p.name != "selection"]
    options = _parameters(_selection)

    @wraps(command)
    def run(**given: Any) -> None:
        chosen = {option.name: given.pop(option.name) for option in options}
        command(selection=_selection(**chosen), **given)

    run.__signature__ = Signature([*options, *own])  # type: ignore[attr-defined] # what typer reads
    return run


def _parameters(function: Callable[..., Any]) -> list[Parameter]:
    return list(signature(function, eval_str=True).parameters.values())
