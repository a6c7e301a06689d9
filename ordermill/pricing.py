"""ordermill pricing: rule sets in and out, and what an order would cost."""

from __future__ import annotations

import json as jsonlib
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from ordermill.output import AsJson, console, show, show_json
from ordermill.session import acting, actor, application
from pipeline import quoting
from pipeline.errors import InvalidInput
from pipeline.intake.files.rules import read_rules, write_rules
from pipeline.intake.schema import InvalidOrder
from pipeline.money import exponent, to_text
from pipeline.outcome import Advance, Reject
from pipeline.pricing.explanation import explain, named
from pipeline.pricing.quote import NotPriced
from pipeline.pricing.rules import Rules
from pipeline.pricing.ruleset import RuleSet
from pipeline.quoting import Quoted
from pipeline.source import Source
from pipeline.storage import rules as storage
from pipeline.storage import sources
from pipeline.storage.database import Tx
from pipeline.storage.rules import Version

pricing = typer.Typer(
    help="Rules of pricing: tax, shipping, promotions, coupons.", no_args_is_help=True
)

File = Annotated[
    Path, typer.Argument(exists=True, dir_okay=False, help="Rules in YAML; see docs/pricing.md.")
]
Name = Annotated[str, typer.Option(help="The rule set; a source's policy names it as `rules`.")]


@pricing.command("import")
def import_file(
    file: File,
    name: Name = "default",
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Say what would happen, and change nothing.")
    ] = False,
) -> None:
    """Make the rules in a file the newest version of a rule set. The same rules again are no new one.

    Orders that are not priced yet are priced by them; those that are keep what they were priced by.
    """
    if not 1 <= len(name) <= 64:
        raise InvalidInput(f"--name: got {name!r}, expected 1 to 64 characters")
    rules = read_rules(file)
    with application() as app:
        if dry_run:
            with app.database.snapshot() as tx:
                version, is_new = storage.number(tx, name, rules)
        else:
            with acting(app, "pricing.import", name) as act:
                version, is_new = storage.number(act.tx, name, rules)
                act.detail |= {"version": version, "changed": is_new}
                if is_new:
                    storage.add(act.tx, name, rules, actor())
    if not is_new:
        console.print(f"{name} stays at version {version}: these are its rules.", markup=False)
        return
    verb = "would be" if dry_run else "is"
    console.print(f"{name} {verb} at version {version}: {_summary(rules)}.", markup=False)


@pricing.command("check")
def check(file: File) -> None:
    """Say whether a file of rules is sound, or all that is wrong with it (exit code 2)."""
    console.print(f"{file} is sound: {_summary(read_rules(file))}.", markup=False)


@pricing.command("export")
def export(
    name: Name = "default",
    version: Annotated[int | None, typer.Option(min=1, help="The newest without it.")] = None,
) -> None:
    """Write a version of a rule set to stdout, as YAML that can be imported."""
    with application() as app, app.database.snapshot() as tx:
        typer.echo(write_rules(storage.read(tx, name, version)), nl=False)


@pricing.command("ls")
def ls(json: AsJson = False) -> None:
    """List every version of every rule set, the newest first."""
    with application() as app, app.database.snapshot() as tx:
        found = storage.versions(tx)
    show(found, json, empty="No rules yet. Bring some in: ordermill pricing import FILE")


@pricing.command("schema")
def schema() -> None:
    """Print the JSON Schema of rules, for editors that check YAML by one."""
    show_json(Rules.model_json_schema())


@pricing.command("quote")
def quote(
    file: Annotated[
        Path,
        typer.Argument(exists=True, dir_okay=False, help="An order, as JSON (docs/intake.md)."),
    ],
    rules: Annotated[
        Path | None,
        typer.Option(
            exists=True, dir_okay=False, help="Price by this file, not by the source's rules."
        ),
    ] = None,
    source: Annotated[
        str | None, typer.Option(help="Whose order it is; may be left out if there is one source.")
    ] = None,
    json: AsJson = False,
) -> None:
    """Say what an order would cost now, and why, without placing it. Exit code 1: it has no price."""
    given = None if rules is None else Version(str(rules), None, RuleSet(read_rules(rules)))
    with application() as app, app.database.snapshot() as tx:
        whose = _source(tx, source)
        try:
            quoted = quoting.quote(tx, whose, _read(file), given)
        except InvalidOrder as error:
            wrong = "\n".join([f"{file}:", *(f"  {problem}" for problem in error.problems)])
            raise InvalidInput(wrong) from None
    (_as_json if json else _tell)(quoted)
    raise typer.Exit(1 if isinstance(quoted.found, NotPriced) else 0)


def _source(tx: Tx, name: str | None) -> Source:
    if name is not None:
        return sources.by_name(tx, name)
    known = list(sources.all_sources(tx).values())
    if len(known) != 1:
        names = ", ".join(source.name for source in known) or "none yet"
        raise InvalidInput(f"--source says whose order it is; there are: {names}")
    return known[0]


def _read(file: Path) -> Any:
    try:
        return jsonlib.loads(file.read_text("utf-8"))
    except (ValueError, RecursionError) as error:
        raise InvalidInput(f"{file} is not JSON: {error}") from None


def _tell(quoted: Quoted) -> None:
    version, found, outcome = quoted.rules, quoted.found, quoted.outcome
    if isinstance(found, NotPriced):
        detail = jsonlib.dumps(dict(found.detail), default=str)
        console.print(f"It has no price: {found.reason} {detail}", markup=False)
        return
    currency = quoted.order.currency

    def text(minor: int) -> str:
        return to_text(minor, currency)

    lines = [
        {"line": str(n), "sku": x.sku, "quantity": x.quantity, "unit_price": text(x.unit_price),
         "discount": text(x.discount), "net": text(x.net), "tax": text(x.tax),
         "gross": text(x.gross)}
        for n, x in enumerate(found.lines, start=1)
    ]  # fmt: skip
    if found.shipping:
        s = found.shipping
        lines.append(
            {"line": "", "sku": s.method, "quantity": "", "unit_price": text(s.price),
             "discount": text(s.discount), "net": text(s.net), "tax": text(s.tax),
             "gross": text(s.gross)}
        )  # fmt: skip
    show(lines, False, empty="")
    by = named(version.name, version.number)
    console.print(
        f"\n{text(found.total)} {currency} by {by}; tax in it: {text(found.tax)}", markup=False
    )
    if not isinstance(outcome, Advance):
        ends = "rejected" if isinstance(outcome, Reject) else "held"
        detail = ", ".join(f"{k}: {v}" for k, v in outcome.detail.items())
        console.print(f"It would be {ends}: {outcome.reason} ({detail})", markup=False)
    console.print()
    show(explain(found.steps, currency), False, empty="")


def _as_json(quoted: Quoted) -> None:
    found = quoted.found
    told: dict[str, Any] = {"rules": quoted.rules.name, "version": quoted.rules.number}
    if isinstance(found, NotPriced):
        told |= {"reason": found.reason, "detail": found.detail}
    else:
        currency = quoted.order.currency
        told |= {"currency": currency, "exponent": exponent(currency), **asdict(found)}
    show_json(told)


def _summary(rules: Rules) -> str:
    parts = {
        "promotion": rules.promotions, "coupon": rules.coupons,
        "shipping method": rules.shipping.methods, "tax zone": rules.tax.zones,
    }  # fmt: skip
    return ", ".join(f"{len(p)} {what}{'' if len(p) == 1 else 's'}" for what, p in parts.items())
