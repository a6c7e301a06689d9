"""ordermill demo: a shop in a throw-away home, orders of every kind, and what became of them."""

from __future__ import annotations

import itertools
import logging
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.live import Live
from rich.table import Table

from ordermill.output import console, show
from ordermill.processes import Everything, running, upgrade_embedded
from pipeline.audit.audit import Report, audit
from pipeline.chain import STEPS
from pipeline.errors import ConfigurationError
from pipeline.intake.accept import Receipt
from pipeline.pricing.rules import Rules
from pipeline.settings import load_settings
from pipeline.source import Policy
from pipeline.storage import catalogue, dispatches, rules, sources, stock, views
from pipeline.storage.database import Database, Tx

SOURCE = "demo-shop"
MOST_SECONDS = 50.0
AT_ONCE = 20
_PLAIN = ("MUG-01", "TEE-01", "POSTER-01", "CAP-01", "BAG-01")
_SCARCE = "LIMITED-01"
_RARE = "HANDMADE-01"
_COUPON = "LAUNCH"
_RULES = {
    "tax": {
        "zones": [
            {
                "name": "all",
                "country": "*",
                "rates": {"standard": [{"name": "VAT", "rate": "0.19"}]},
            }
        ]
    },
    "promotions": [
        {"id": "launch", "name": "Ten off", "effect": {"type": "percent", "percent": 10}}
    ],
    "coupons": [{"code": _COUPON, "promotions": ["launch"], "limit": 3}],
}


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of order: how many in a hundred, how it differs from a good one, where it may end."""

    name: str
    share: int
    changes: Mapping[str, Any]
    ends: frozenset[tuple[str, str | None]]


def _paying(method: str) -> dict[str, Any]:
    return {"payment": {"method": method}}


def _wanting(sku: str, quantity: int = 1) -> dict[str, Any]:
    return {"lines": [{"sku": sku, "quantity": quantity}]}


_CONFIRMED: tuple[str, str | None] = ("confirmed", None)
_EXHAUSTED = "coupon_exhausted"
_OUT_OF_STOCK: tuple[str, str | None] = ("rejected", "out_of_stock")

KINDS = (
    Kind("good", 54, {}, frozenset({_CONFIRMED})),
    Kind("mistyped SKU", 6, _wanting("MUG-O1"), frozenset({("rejected", "unknown_sku")})),
    Kind("mistyped country", 4, {"ship_to": {"country": "Germoney"}}, frozenset({("refused", None)})),
    Kind(
        "declined card",
        8,
        _paying("pm_card_declined"),
        frozenset({("rejected", "declined")}),
    ),
    Kind(
        "scarce product",
        8,
        _wanting(_SCARCE),
        frozenset({_CONFIRMED, _OUT_OF_STOCK, ("cancelled", "out_of_stock")}),
    ),
    Kind(
        "scarce coupon",
        4,
        {"coupons": [_COUPON]},
        frozenset({_CONFIRMED, ("rejected", _EXHAUSTED), ("cancelled", _EXHAUSTED)}),
    ),
    Kind("backorder", 3, _wanting(_RARE), frozenset({_CONFIRMED})),
    Kind("gateway charges, answer lost", 5, _paying("pm_timeout_after"), frozenset({_CONFIRMED})),
    Kind("gateway answers: come later", 5, _paying("pm_rate_limited"), frozenset({_CONFIRMED})),
    Kind("too dear, waits for a person", 2, _wanting("BAG-01", 90), frozenset({("on_hold", "amount_over_limit")})),
    Kind("poison (provokes a defect)", 1, _paying("pm_crash"), frozenset({("on_hold", "defect")})),
)  # fmt: skip


def demo(
    orders: Annotated[int, typer.Option(min=100, max=20_000, help="How many orders.")] = 400,
    home: Annotated[
        Path | None, typer.Option(help="Keep everything in this folder, to look at afterwards.")
    ] = None,
) -> None:
    """Show orders flowing, failing and recovering, in under a minute; then prove the books."""
    with tempfile.TemporaryDirectory(prefix="ordermill-demo-") as scratch:
        kept = home or Path(scratch)
        if (kept / "ordermill.db").exists():
            raise ConfigurationError(f"{kept} holds a shop already; give --home an empty folder")
        raise typer.Exit(_run(orders, kept))


def _run(orders: int, home: Path) -> int:
    logging.disable(logging.CRITICAL)  # the defect that poison provokes is part of the show
    settings = load_settings(
        home=home, database_url="", broker_url="memory://", smtp_url="", sandbox_book=""
    )
    upgrade_embedded(settings)
    everything = Everything(settings)
    app = everything.worker.app
    source = _open_shop(app.database)
    console.print(f"[bold]{orders} orders[/bold] of every kind, through one process, on SQLite:\n")
    sent: dict[str, list[Receipt]] = {kind.name: [] for kind in KINDS}

    def send(pace: Iterator[None]) -> None:
        for some in _batched(_orders(orders), AT_ONCE):
            receipts = app.intake.accept_all(source, [order for _, order in some])
            for (kind, _), receipt in zip(some, receipts, strict=True):
                sent[kind.name].append(receipt)
            next(pace, None)
            time.sleep(0.05)

    with running(everything):
        _watch(app.database, send, until=lambda tx: views.unsettled(tx) == _backordered(tx))
        _restock(app.database)
        _watch(app.database, lambda pace: None, until=lambda tx: not views.unsettled(tx))
    return _conclude(app.database, sent, lambda: audit(app.database, app.gateways))


def _batched(orders: Iterator[Any], size: int) -> Iterator[list[Any]]:
    while some := list(itertools.islice(orders, size)):
        yield some


def _open_shop(database: Database) -> Any:
    with database.transaction() as tx:
        rules.add(tx, "default", Rules.model_validate(_RULES), "demo")
        sources.put(tx, SOURCE, Policy(hold_over={"EUR": 100_000}))
        names = (*_PLAIN, _SCARCE, _RARE)
        catalogue.put(
            tx,
            [
                catalogue.ProductIn(sku, sku.title(), True, sku == _RARE, {"EUR": 1000 + 490 * n})
                for n, sku in enumerate(names)
            ],
        )
        units = {**dict.fromkeys(_PLAIN, 1_000_000), _SCARCE: 15}
        stock.post(
            tx,
            [stock.Movement(sku, "main", "receipt", n, "opening") for sku, n in units.items()],
            "demo",
        )
        return sources.by_name(tx, SOURCE)


def _restock(database: Database) -> None:
    console.print(f"\nA delivery of {_RARE} arrives; the backorders that wait for it go on.\n")
    with database.transaction() as tx:
        stock.post(tx, [stock.Movement(_RARE, "main", "receipt", 1_000_000, "delivery")], "demo")


def _orders(count: int) -> Iterator[tuple[Kind, dict[str, Any]]]:
    """`count` orders, the kinds mixed evenly."""
    by_hundred = [kind for kind in KINDS for _ in range(kind.share)]
    for n in range(count):
        kind = by_hundred[n * 37 % 100]  # 37 and 100 share no factor: each place comes once
        yield (
            kind,
            {
                "external_id": f"demo-{n + 1}",
                "currency": "EUR",
                "customer": {"email": f"customer-{n + 1}@example.com", "name": "Ada"},
                "ship_to": {"country": "DE", "postal_code": "10115"},
                "lines": [
                    {"sku": _PLAIN[n % 5], "quantity": 1 + n % 3},
                    {"sku": _PLAIN[(n + 2) % 5], "quantity": 1},
                ],
                **_paying("pm_card_visa"),
                **kind.changes,
            },
        )


def _watch(
    database: Database,
    send: Callable[[Iterator[None]], None],
    *,
    until: Callable[[Tx], bool],
) -> None:
    """Show the queues while `send` sends, and on `until` it is so (or the time is up)."""
    begun = time.monotonic()
    with Live(console=console, refresh_per_second=8, transient=False) as live:

        def refresh() -> Iterator[None]:
            shown = 0.0
            while True:
                if time.monotonic() - shown > 0.2:
                    with database.snapshot() as tx:
                        live.update(_picture(tx))
                    shown = time.monotonic()
                yield

        pace = refresh()
        send(pace)
        while time.monotonic() - begun < MOST_SECONDS:
            next(pace)
            with database.snapshot() as tx:
                if until(tx):
                    live.update(_picture(tx))
                    return
            time.sleep(0.25)


def _backordered(tx: Tx) -> int:
    return sum(r["orders"] for r in views.by_outcome(tx) if r["status"] == "backordered")


def _picture(tx: Tx) -> Table:
    stats, outcomes = dispatches.stats(tx), views.by_outcome(tx)
    table = Table(box=None, header_style="bold", pad_edge=False)
    for name in ("queue", "orders waiting", "status", "orders"):
        table.add_column(name, justify="left" if name in ("queue", "status") else "right")
    by_status: dict[str, int] = {}
    for row in outcomes:
        by_status[row["status"]] = by_status.get(row["status"], 0) + row["orders"]
    statuses = sorted(by_status.items(), key=lambda item: -item[1])
    for n in range(max(len(STEPS), len(statuses))):
        step = STEPS[n] if n < len(STEPS) else ""
        waiting = str(int(stats[step].orders)) if step in stats else "·" if step else ""
        status, count = statuses[n] if n < len(statuses) else ("", "")
        table.add_row(step, waiting, status, str(count))
    return table


def _conclude(
    database: Database, sent: Mapping[str, list[Receipt]], prove: Callable[[], Report]
) -> int:
    """Print what became of each kind, one timeline, and the audit's verdict; the exit code."""
    with database.snapshot() as tx:
        rows, surprises = _outcomes(tx, sent)
        told = _interesting(tx, sent)
    console.print("\n[bold]What became of them[/bold]")
    show(rows, False, empty="")
    console.print(
        f"\n[bold]One order's life[/bold] ({told['external_id']}: the gateway charged it, the "
        "answer was lost)"
    )
    show(
        [{k: e[k] for k in ("seq", "at", "kind", "to_status", "reason")} for e in told["events"]],
        False,
        empty="",
    )
    report = prove()
    broken = [checked for checked in report.rules if checked.broken]
    checks = sum(checked.checked for checked in report.rules)
    verdict = f"{len(broken)} broken" if broken else "all hold"
    console.print(
        f"\n[bold]Audit[/bold]: {len(report.rules)} rules, {checks:,} things looked at, {verdict}."
    )
    for checked in broken:
        console.print(f"  {checked.rule.name}: {checked.findings[0].what}", markup=False)
    for surprise in surprises:
        console.print(f"[red]{surprise}[/red]")
    return 0 if report.is_clean and not surprises else 1


def _outcomes(tx: Tx, sent: Mapping[str, list[Receipt]]) -> tuple[list[dict[str, Any]], list[str]]:
    rows: list[dict[str, Any]] = []
    surprises: list[str] = []
    for kind in KINDS:
        ends: dict[tuple[str, str | None], int] = {}
        for receipt in sent[kind.name]:
            end = _end(tx, receipt)
            ends[end] = ends.get(end, 0) + 1
        for (status, reason), count in sorted(ends.items(), key=str):
            rows.append({"kind": kind.name, "orders": count, "became": status, "because": reason})
            if (status, reason) not in kind.ends:
                surprises.append(f"{kind.name}: {count} became {status} ({reason})")
    return rows, surprises


def _end(tx: Tx, receipt: Receipt) -> tuple[str, str | None]:
    if receipt.order_id is None:
        return "refused", None
    row = views.page(tx, before=receipt.order_id + 1, most=1)[0]
    return row["status"], row["reason"]


def _interesting(tx: Tx, sent: Mapping[str, list[Receipt]]) -> dict[str, Any]:
    """An order whose charge was answered by nothing and found again: of these the one that was tried
    most often, as one in a batch with poison may have its answer thrown away and look untroubled."""
    ids = [receipt.order_id for receipt in sent["gateway charges, answer lost"]]
    told = [views.one(tx, order_id) for order_id in ids if order_id is not None]
    return max(told, key=lambda order: len(order["events"]))
