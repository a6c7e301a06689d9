"""ordermill webhooks: where sources are told of their orders, what got there, and again on demand."""

from __future__ import annotations

import time
from datetime import datetime
from typing import Annotated, Any

import typer

from ordermill.output import AsJson, console, one_of, show, show_json
from ordermill.selecting import seconds
from ordermill.session import acting, actor, application
from pipeline.assembly import Application
from pipeline.errors import InvalidInput
from pipeline.payments.window import moment
from pipeline.storage import sources, webhook_deliveries
from pipeline.storage import webhooks as storage
from pipeline.storage.webhooks import Endpoint
from pipeline.typed import LARGEST
from pipeline.webhooks import endpoints
from pipeline.webhooks.dispatcher import Dispatcher

webhooks = typer.Typer(
    help="Where sources are told of their orders (docs/webhooks.md).", no_args_is_help=True
)

#: Seconds that `test` waits for another process that delivers to the endpoint just now.
PATIENCE = 30.0

EndpointId = Annotated[str, typer.Argument(metavar="ID", help="An endpoint's id.")]


@webhooks.command("create")
def create(
    source: Annotated[str, typer.Argument(help="Whose orders it is told of.")],
    url: Annotated[str, typer.Argument(help="Where to: https://…")],
    type_: Annotated[
        list[str] | None,
        typer.Option(
            "--type", help="A type of events; repeat it, or * for all. Default: the usual."
        ),
    ] = None,
    since: Annotated[
        str | None,
        typer.Option(metavar="TIME", help="Tell of what has happened since, too: 2026-11-23."),
    ] = None,
    json: AsJson = False,
) -> None:
    """Make an endpoint, and show its secret: this once."""
    begin = None if since is None else _moment(since)
    with application() as app, acting(app, "webhook.create", source=source) as act:
        its = sources.by_name(act.tx, source).id
        made = app.webhooks.create(act.tx, its, url, actor(), types=type_ or (), since=begin)
        act.detail["endpoint"] = made.id
        secret = app.webhooks.secret(made)
    _tell_secret(made, secret, json)


@webhooks.command("ls")
def ls(
    source: Annotated[str | None, typer.Option(help="Only endpoints of this source.")] = None,
    json: AsJson = False,
) -> None:
    """List endpoints, and how each fares."""
    with application() as app, app.database.snapshot() as tx:
        its = None if source is None else sources.by_name(tx, source).id
        found = storage.all_endpoints(tx, its)
    told = [endpoints.told(each) for each in found]
    names = ("id", "source", "url", "state", "failing_since", "disabled_why")
    show(
        told if json else [{name: each[name] for name in names} for each in told],
        json,
        empty="No endpoint yet. Make one: ordermill webhooks create SOURCE URL",
    )


@webhooks.command("show")
def show_one(endpoint_id: EndpointId, json: AsJson = False) -> None:
    """Show an endpoint: what it is told of, and how it fares."""
    with application() as app, app.database.snapshot() as tx:
        told = endpoints.told(storage.one(tx, endpoint_id))
    if json:
        show_json(told)
        return
    rows = [{"field": name, "found": _shown(value)} for name, value in told.items()]
    show(rows, False, empty="")


@webhooks.command("rotate")
def rotate(
    endpoint_id: EndpointId,
    overlap: Annotated[
        str, typer.Option(metavar="TIME", help="How long the old secret signs, too: 0s, 24h, 7d.")
    ] = "24h",
    json: AsJson = False,
) -> None:
    """Give an endpoint a new secret, and show it: this once."""
    with application() as app, acting(app, "webhook.rotate", endpoint_id, overlap=overlap) as act:
        made = endpoints.rotate(act.tx, endpoint_id, seconds(overlap, "--overlap") or 0.0)
        secret = app.webhooks.secret(made)
    _tell_secret(made, secret, json)


@webhooks.command("disable")
def disable(
    endpoint_id: EndpointId,
    why: Annotated[str | None, typer.Option(help="Why; it stands beside the endpoint.")] = None,
) -> None:
    """Deliver nothing more to an endpoint. What happens meanwhile is delivered when it is enabled."""
    with application() as app, acting(app, "webhook.disable", endpoint_id, reason=why) as act:
        endpoints.disable(act.tx, endpoint_id, actor(), why)
    console.print(f"Endpoint {endpoint_id} is disabled.")


@webhooks.command("enable")
def enable(
    endpoint_id: EndpointId,
    from_now: Annotated[
        bool, typer.Option("--from-now", help="Leave out what was missed.")
    ] = False,
) -> None:
    """Deliver to an endpoint again, from where it was left."""
    with application() as app, acting(app, "webhook.enable", endpoint_id, from_now=from_now) as act:
        endpoints.enable(act.tx, endpoint_id, from_now=from_now)
    console.print(f"Endpoint {endpoint_id} is enabled.")


@webhooks.command("deliveries")
def deliveries(
    endpoint_id: EndpointId,
    delivery: Annotated[
        int | None,
        typer.Argument(max=LARGEST, metavar="[DELIVERY]", help="Every attempt at this one."),
    ] = None,
    state: Annotated[
        str | None,
        typer.Option(
            parser=one_of(("pending", "delivered", "failed")),
            metavar="STATE",
            help="Only pending, delivered, or failed ones.",
        ),
    ] = None,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="At most so many.")] = 20,
    json: AsJson = False,
) -> None:
    """List deliveries to an endpoint, newest first; or every attempt at one."""  # fmt: skip
    with application() as app, app.database.snapshot() as tx:
        storage.one(tx, endpoint_id)
        if delivery is not None:
            one = endpoints.told_delivery(webhook_deliveries.one(tx, endpoint_id, delivery))
            found = []
        else:
            one = {}
            found = webhook_deliveries.page(tx, endpoint_id, state=state, most=limit)
    if one:
        if json:
            show_json(one)
        else:
            show(one["log"], False, empty="It has not been attempted yet.")
        return
    told = [endpoints.told_delivery(each) for each in found]
    names = ("id", "event", "type", "state", "attempts", "status", "due_at", "error")
    show(
        told if json else [{name: each[name] for name in names} for each in told],
        json,
        empty="Nothing was to be delivered to it yet.",
    )


@webhooks.command("redeliver")
def redeliver(
    endpoint_id: EndpointId,
    delivery: Annotated[
        list[int] | None,
        typer.Argument(max=LARGEST, metavar="[DELIVERY]…", help="Deliveries, by number."),
    ] = None,
    failed: Annotated[bool, typer.Option("--failed", help="All that were given up.")] = False,
) -> None:
    """Deliver again, whatever became of it."""
    if failed == bool(delivery):
        raise InvalidInput("expected numbers of deliveries, or --failed")
    which = delivery or "failed"
    with application() as app, acting(app, "webhook.redeliver", endpoint_id, which=which) as act:
        count = act.detail["deliveries"] = endpoints.redeliver(
            act.tx, endpoint_id, delivery or None
        )
    console.print(f"{count} of them will be delivered again; a running scheduler does it.")


@webhooks.command("test")
def send_test(endpoint_id: EndpointId, json: AsJson = False) -> None:
    """Send an endpoint a webhook.test, now, and show what it answered. Exit code 1 if it failed."""
    with application() as app:
        with acting(app, "webhook.test", endpoint_id) as act:
            delivery_id = act.detail["delivery"] = endpoints.test(act.tx, endpoint_id)
        told = _attempted(app, endpoint_id, delivery_id)
    if json:
        show_json(told)
    else:
        show(told["log"], False, empty="It has not been attempted yet: another is busy with it.")
    raise typer.Exit(0 if told["state"] == "delivered" else 1)


def _attempted(app: Application, endpoint_id: str, delivery_id: int) -> dict[str, Any]:
    """The delivery once it was attempted: by us, unless a scheduler is first."""
    dispatcher = Dispatcher(app.database, app.webhooks.signer, app.webhooks.allowed)
    give_up = time.monotonic() + PATIENCE
    try:
        while True:
            dispatcher.deliver(endpoint_id)
            with app.database.snapshot() as tx:
                found = webhook_deliveries.one(tx, endpoint_id, delivery_id)
            if found["log"] or time.monotonic() > give_up:
                return endpoints.told_delivery(found)
            time.sleep(0.2)
    finally:
        dispatcher.stop(0)


def _moment(written: str) -> datetime:
    try:
        return moment(written)
    except InvalidInput as error:
        raise InvalidInput(f"--since: {error}") from None


def _shown(value: Any) -> Any:
    return " ".join(value) if isinstance(value, list) else value


def _tell_secret(endpoint: Endpoint, secret: str, json: bool) -> None:
    if json:
        show_json({**endpoints.told(endpoint), "secret": secret})
        return
    console.print(f"Endpoint {endpoint.id}. Its webhooks are signed with", markup=False)
    console.print(secret, markup=False)
    console.print("Keep it well: it is not shown again.")
