"""ordermill keys: who may call the HTTP API, and what for."""

from __future__ import annotations

from typing import Annotated

import typer

from ordermill.output import AsJson, console, show, show_json
from ordermill.selecting import seconds
from ordermill.session import acting, actor, application
from pipeline import access
from pipeline.access import RATE, Scope
from pipeline.errors import InvalidInput
from pipeline.storage import api_keys

keys = typer.Typer(help="Keys of the HTTP API (docs/api.md).", no_args_is_help=True)

KeyId = Annotated[
    str, typer.Argument(help="A key's id: what follows om_live_, or `keys ls` shows.")
]


@keys.command("create")
def create(
    name: Annotated[str, typer.Option(help="Who uses it; it stands in timelines.")],
    source: Annotated[str | None, typer.Argument(help="Whose orders it is for.")] = None,
    operator: Annotated[
        bool, typer.Option("--operator", help="For the whole shop, not one source.")
    ] = False,
    scope: Annotated[
        list[Scope] | None, typer.Option(help="What for; repeat it. Default: what is usual.")
    ] = None,
    expires: Annotated[
        str | None, typer.Option(metavar="TIME", help="How long it is valid: 12h, 90d.")
    ] = None,
    rate: Annotated[
        int, typer.Option(help="Requests a second, to each process that serves them.")
    ] = RATE,
    json: AsJson = False,
) -> None:
    """Make a key, and show it: this once."""
    if operator == (source is not None):
        raise InvalidInput("a key is for one source, or --operator")
    lifetime = seconds(expires, "--expires")
    with application() as app, acting(app, "key.create", name, source=source, scopes=scope) as act:
        made = access.create(
            act.tx, name, actor(), source=source, scopes=scope or (), lifetime=lifetime, rate=rate
        )
    _tell(made, json)


@keys.command("ls")
def ls(json: AsJson = False) -> None:
    """List the keys: whose, what for, until when, and when each was last used."""
    with application() as app, app.database.snapshot() as tx:
        found = api_keys.all_keys(tx)
    rows = found if json else [{**key, "scopes": " ".join(key["scopes"])} for key in found]
    show(rows, json, empty="No key yet. Make one: ordermill keys create SOURCE --name NAME")


@keys.command("revoke")
def revoke(key_id: KeyId) -> None:
    """End a key. Every process that serves it notices within five seconds."""
    with application() as app, acting(app, "key.revoke", key_id) as act:
        done = act.detail["changed"] = api_keys.revoke(act.tx, key_id)
    console.print(f"Key {key_id} is revoked." if done else f"Key {key_id} was revoked already.")


@keys.command("rotate")
def rotate(
    key_id: KeyId,
    overlap: Annotated[
        str, typer.Option(metavar="TIME", help="How long the old one goes on: 0s, 24h, 7d.")
    ] = "24h",
    json: AsJson = False,
) -> None:
    """Make a key's successor, alike but for its secret, and show it; the old one ends by itself."""
    with application() as app, acting(app, "key.rotate", key_id, overlap=overlap) as act:
        made = access.rotate(act.tx, key_id, seconds(overlap, "--overlap") or 0.0, actor())
    _tell(made, json)


def _tell(key: str, json: bool) -> None:
    if json:
        show_json({"key": key})
        return
    console.print(key, markup=False)
    console.print("Keep it well: it is not shown again.")
