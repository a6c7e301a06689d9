"""ordermill sources: upstream systems and their policies."""

from __future__ import annotations

import json as jsonlib
import tomllib
from pathlib import Path
from typing import Annotated

import typer
from pydantic import ValidationError

from ordermill.output import AsJson, console, show
from ordermill.session import application
from pipeline.errors import InvalidInput
from pipeline.source import Policy
from pipeline.storage import rules
from pipeline.storage import sources as storage

sources = typer.Typer(help="Upstream systems and their policies.", no_args_is_help=True)


@sources.command("ls")
def ls(json: AsJson = False) -> None:
    """List sources with what their policies set."""
    with application() as app, app.database.snapshot() as tx:
        found = storage.all_sources(tx).values()
    rows = [
        {"source": s.name, "policy": s.policy.model_dump_json(exclude_defaults=True)} for s in found
    ]
    show(rows, json, empty="No source yet. Make one: ordermill sources set NAME")


@sources.command("set")
def set_source(
    name: Annotated[str, typer.Argument(help="The source's name.")],
    policy: Annotated[
        Path | None,
        typer.Option(
            exists=True, dir_okay=False, help="A TOML file; docs/operating.md tells the fields."
        ),
    ] = None,
    option: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="One policy field; VALUE as JSON or text."),
    ] = None,
) -> None:
    """Make a source, or replace its policy. What is not given has its default.

    ordermill sources set market --set price_policy=as_sold --set rules=marketplace
    """
    fields = tomllib.loads(policy.read_text()) if policy else {}
    for pair in option or []:
        key, separator, value = pair.partition("=")
        if not separator:
            raise InvalidInput(f"--set {pair!r} is not KEY=VALUE")
        fields[key] = _value(value)
    try:
        parsed = Policy.model_validate(fields)
    except ValidationError as error:
        wrong = "; ".join(f"{'.'.join(map(str, e['loc']))}: {e['msg']}" for e in error.errors())
        raise InvalidInput(f"the policy of {name} is wrong: {wrong}") from None
    with application() as app, app.database.transaction() as tx:
        storage.put(tx, name, parsed)
        has_rules = rules.newest(tx, [parsed.rules])[parsed.rules].number is not None
    console.print(f"Source {name} is set.")
    if not has_rules:
        console.print(
            f"There are no rules {parsed.rules} yet: no tax, no shipping, no promotions until "
            f"`ordermill pricing import FILE --name {parsed.rules}`.",
            markup=False,
        )


def _value(text: str) -> object:
    try:
        return jsonlib.loads(text)
    except ValueError:
        return text
