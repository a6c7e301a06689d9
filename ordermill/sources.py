"""ordermill sources: upstream systems and their policies."""

from __future__ import annotations

import json as jsonlib
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

import typer
from pydantic import ValidationError

from ordermill.output import AsJson, console, show, show_json
from ordermill.session import acting, application
from pipeline.errors import InvalidInput
from pipeline.payments import gateways
from pipeline.payments.choice import mend
from pipeline.places.countries import country_code
from pipeline.problems import problems
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
    option: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="One policy field; VALUE as JSON or text."),
    ] = None,
    reset: Annotated[
        list[str] | None,
        typer.Option(metavar="KEY", help="Back to the default, for one policy field."),
    ] = None,
    file: Annotated[
        Path | None,
        typer.Option(
            "--replace",
            exists=True,
            dir_okay=False,
            help="The whole policy, from a TOML file: what it doesn't give has its default.",
        ),
    ] = None,
    json: AsJson = False,
) -> None:
    """Make a source, or change its policy: only what is given. Shows what has changed.

    docs/operating.md tells the fields. Orders in hand go by the new policy from their next step on.

    ordermill sources set market --set price_policy=as_sold --set rules=marketplace
    """
    given = _given(option or [])
    _known("--reset", reset or [])
    if twice := sorted(given.keys() & set(reset or [])):
        raise InvalidInput(f"--reset {twice[0]}: expected another field than --set gives")
    with application() as app, acting(app, "source.set", name) as act:
        tx = act.tx
        there = storage.lock(tx, name)
        before = there.policy if there else Policy()
        kept = _read(file) if file else before.model_dump(mode="json", exclude_defaults=True)
        fields = {k: v for k, v in kept.items() if k not in (reset or [])}
        after = _policy(name, fields | given)
        lack = app.choice.lack(name, after)
        if lack and after.gateway:
            raise InvalidInput(f"{lack}; expected stripe or manual")
        storage.put(tx, name, after)
        has_rules = rules.newest(tx, [after.rules])[after.rules].number is not None
        act.detail["changes"] = changes = _changes(before, after)
    if json:
        show_json({"source": name, "made": there is None, "changes": changes})
        return
    console.print(f"Source {name} is set.", markup=False)
    show(changes, False, empty="Its policy is as it was." if there else "All has its default.")
    if lack:
        console.print(f"It names no gateway, so its orders wait: {mend(name)}.", markup=False)
    if not has_rules:
        console.print(
            f"There are no rules {after.rules} yet: no tax, no shipping, no promotions until "
            f"`ordermill pricing import FILE --name {after.rules}`.",
            markup=False,
        )


def _given(pairs: Sequence[str]) -> dict[str, Any]:
    fields = {}
    for pair in pairs:
        key, separator, value = pair.partition("=")
        if not separator:
            raise InvalidInput(f"--set: got {pair!r}, expected KEY=VALUE")
        fields[key] = _value(value)
    _known("--set", fields)
    return fields


def _known(option: str, keys: Iterable[str]) -> None:
    for key in keys:
        if key not in Policy.model_fields:
            raise InvalidInput(
                f"{option}: got {key!r}, expected one of {', '.join(Policy.model_fields)}"
            )


def _read(file: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(file.read_text("utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InvalidInput(f"{file} is no TOML: {error}") from None


def _policy(name: str, fields: Mapping[str, Any]) -> Policy:
    try:
        policy = Policy.model_validate(fields)
    except ValidationError as error:
        wrong = "; ".join(map(str, problems(error)))
        raise InvalidInput(f"the policy of {name} is wrong: {wrong}") from None
    if policy.gateway and policy.gateway not in gateways.names():
        raise InvalidInput(
            f"the policy of {name} is wrong: gateway: got {policy.gateway!r}, "
            f"expected one of {', '.join(gateways.names())}"
        )
    codes = {written: country_code(written) for written in policy.hold_countries}
    if unknown := sorted(written for written, code in codes.items() if code is None):
        raise InvalidInput(
            f"the policy of {name} is wrong: hold_countries: got {', '.join(map(repr, unknown))}, "
            "expected countries, by their ISO 3166-1 codes or names, such as DE"
        )
    return policy.model_copy(update={"hold_countries": frozenset(filter(None, codes.values()))})


def _changes(before: Policy, after: Policy) -> list[dict[str, Any]]:
    was, now = (policy.model_dump(mode="json") for policy in (before, after))
    return [
        {"field": key, "was": jsonlib.dumps(was[key]), "now": jsonlib.dumps(now[key])}
        for key in now
        if getattr(before, key) != getattr(after, key)
    ]


def _value(text: str) -> object:
    try:
        return jsonlib.loads(text)
    except ValueError:
        return text
