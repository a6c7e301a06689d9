"""`python -m tests.web.console.screenshots`: each page of the console, in both schemes, into docs/console/.

The shop is made up, and small; what its pages show is what the code made of it.
"""

from __future__ import annotations

import io
import json
import logging
import math
import random
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path

from PIL import Image
from playwright.sync_api import Playwright, sync_playwright
from pydantic import SecretStr
from sqlalchemy import insert

from pipeline.assembly import Application, assemble
from pipeline.chain import STAGES
from pipeline.operators import hash_password
from pipeline.payments.sandbox import SandboxGateway
from pipeline.settings import Settings
from pipeline.source import Policy
from pipeline.storage import operators, processes, queues, sources, webhook_deliveries
from pipeline.storage.database import Database
from pipeline.storage.tables import counters
from pipeline.webhooks.dispatcher import Dispatcher
from scheduler.table import JOBS
from scheduler.tick import run_until_ended
from tests.support import MUG, TEE, Mill, ask
from tests.web.console.serving import chromium, serving
from tests.webhooks.conftest import Receiver

FOLDER = Path(__file__).parents[3] / "docs" / "console"
PASSWORD = "correct horse battery"
PAGES = {
    "overview": "/",
    "held": "/held",
    "orders": "/orders?status=on_hold",
    "order": "/orders/{held}",
    "requeue-all": "/bulk/requeue?reason=country_held",
    "refund": "/orders/{confirmed}/refund?choose=yes&amount=5.00",
    "fulfil": "/orders/{confirmed}/fulfil?choose=yes&line_1=1&carrier=DHL&tracking=JD02",
    "shipped": "/orders/{shipped}",
    "return": "/orders/{shipped}/return?choose=yes&line_1=1",
    "queues": "/queues",
    "workers": "/workers",
    "jobs": "/jobs",
    "job": "/jobs/audit",
    "run": "/jobs/settle-payments/runs/2",
    "stock": "/stock",
    "sku": "/stock/sku?sku=MUG-01",
    "sources": "/sources",
    "source": "/sources/shop",
    "webhook": "/webhooks/{endpoint}",
    "delivery": "/webhooks/{endpoint}/deliveries/{delivery}",
    "audit": "/audit",
    "log": "/log",
    "me": "/me",
}
PHONE = ("overview", "held", "order")


class _Nobody:
    def announce(self, step: str, dispatch_id: int) -> None: ...


def make_shop(home: Path) -> tuple[Application, dict[str, int | str]]:
    settings = Settings(
        _env_file=None,
        home=home,
        webhook_secret=SecretStr("the secret of a picture, and of none"),
        webhook_allow="127.0.0.1",
    )
    home.mkdir(parents=True, exist_ok=True)
    gateway = SandboxGateway(None)
    database = Database(settings.database)
    database.upgrade()
    app = assemble(settings, _Nobody(), gateways={"sandbox": gateway})
    policy = Policy(hold_countries=frozenset({"FR"}), hold_over={"EUR": 20_000})
    mill = Mill(database, gateway=gateway, policy=policy).stocked(units=5_000)
    france = {"country": "FR", "postal_code": "75001"}
    held = [mill.accept(ship_to=france) for _ in range(64)]
    for _ in range(7):
        mill.accept(lines=[(TEE, 12)])
    confirmed = [mill.accept(lines=[(MUG, 1 + n % 3), (TEE, 1)]) for n in range(40)]
    mill.accept(lines=[("MUG-O1", 1)])
    mill.turn()
    for _ in range(23):
        mill.accept()
    with database.transaction() as tx:
        sources.put(tx, "market", Policy(gateway="sandbox", price_policy="as_sold", lane="bulk"))
        queues.pause(tx, "pay", "operator:ada")
        _history(tx)
        for name, role in (("ada", "admin"), ("grace", "operator")):
            operators.create(tx, name, role, hash_password(PASSWORD))
    for job in ("audit", "settle-payments", "roll-up-counters"):
        run_until_ended(app, JOBS[job], ask(app, JOBS[job], "operator:ada"))
    endpoint, delivery = _tell(app, mill.source.id)
    database.close()
    return app, {
        "held": held[0], "confirmed": confirmed[0], "shipped": confirmed[2],
        "endpoint": endpoint, "delivery": delivery,
    }  # fmt: skip


def _tell(app: Application, source_id: int) -> tuple[str, int]:
    """Most of what was confirmed got there, then the endpoint fell ill; and what it didn't take."""
    receiver = Receiver()
    receiver.script.answers["/orders"] = [200] * 30 + [503]
    receiver.script.text = b"over capacity"
    with app.database.transaction() as tx:
        made = app.webhooks.create(
            tx, source_id, receiver.url("/orders"), "operator:ada", types=["order.confirmed"],
            since=datetime.now(UTC) - timedelta(hours=1),
        )  # fmt: skip
    dispatcher = Dispatcher(app.database, app.webhooks.signer, app.webhooks.allowed)
    dispatcher.deliver(made.id)
    dispatcher.stop(0)
    receiver.close()
    with app.database.snapshot() as tx:
        found = webhook_deliveries.page(tx, made.id, most=100)
    return made.id, next(each["id"] for each in found if each["state"] != "delivered")


def _breathe(app: Application) -> None:
    """Processes that nobody has started give a sign of life."""
    doing = [{"step": "reserve", "orders": 412, "seconds": 0.4}]
    crew = (("worker", doing), ("worker", []), ("scheduler", []), ("web", []))
    with app.database.transaction() as tx:
        for pid, (role, what) in enumerate(crew, 4_101):
            processes.seen(tx, str(pid), role, f"mill-{1 + pid % 2}", pid, json.dumps(what))


def _history(tx: object) -> None:
    """A day of trade that nobody has lived through."""
    dice, now = random.Random(7), datetime.now(UTC)
    rows = []
    for minute in range(24 * 60):
        at = now - timedelta(minutes=minute, seconds=5)
        trade = 40 * (1.2 + math.sin((at.hour * 60 + at.minute) / 1440 * 6.28 - 2))
        for step in STAGES:
            if minute:
                rows.append((at, step, "advanced", int(trade * dice.uniform(0.7, 1.3))))
            if dice.random() < 0.08:
                rows.append(
                    (at, step, "held" if step == "price" else "rejected", dice.randint(1, 6))
                )
    names = ("at", "step", "outcome", "orders")
    values = [dict(zip(names, row, strict=True)) for row in rows]
    tx.execute(insert(counters), values)  # type: ignore[attr-defined]


def main() -> None:
    logging.disable(logging.WARNING)
    FOLDER.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as scratch:
        app, ids = make_shop(Path(scratch) / "home")
        with sync_playwright() as playwright:
            _take_all(playwright, app, ids)
        app.close()


def _take_all(playwright: Playwright, app: Application, ids: dict[str, int | str]) -> None:
    opened = chromium(playwright)
    if opened is None:
        raise SystemExit("there is no Chromium: playwright install chromium")
    with serving(app) as address:
        for scheme in ("light", "dark"):
            _breathe(app)
            _take(opened, address, scheme, ids, 1280, 800, PAGES, "")
            phone = {name: PAGES[name] for name in PHONE}
            _breathe(app)
            _take(opened, address, scheme, ids, 390, 844, phone, "-phone")
    opened.close()


def _take(opened, address, scheme, ids, width, height, pages, suffix) -> None:  # type: ignore[no-untyped-def]
    context = opened.new_context(
        viewport={"width": width, "height": height}, color_scheme=scheme, locale="en-GB"
    )
    page = context.new_page()
    page.goto(f"{address}/console/sign-in")
    if not suffix:
        _keep(page, f"sign-in-{scheme}")
    page.fill("[name=name]", "ada")
    page.fill("[name=password]", PASSWORD)
    page.click("button")
    if scheme == "light" and not suffix:
        _act(page, address, ids)
    for name, path in pages.items():
        page.goto(f"{address}/console{path.format(**ids)}", wait_until="load")
        _keep(page, f"{name}{suffix}-{scheme}")
    context.close()


def _act(page, address, ids) -> None:  # type: ignore[no-untyped-def]
    """A little work, for the log."""
    for path in (
        "/queues/notify/pause", "/queues/notify/resume", "/jobs/settle-payments/run",
        f"/orders/{ids['held'] + 1}/requeue", "/stock/adjust?sku=TEE-01&units=-2&reason=torn",
        f"/orders/{ids['confirmed'] + 1}/refund?choose=yes&line_1=1&reason=chipped",
        f"/orders/{ids['shipped']}/fulfil?choose=yes&line_1=2&carrier=DHL&tracking=JD01",
        f"/orders/{ids['shipped']}/return?choose=yes&line_1=1&restock=at:main&reason=too+small",
    ):  # fmt: skip
        page.goto(f"{address}/console{path}")
        page.click("main form[method=post] button")


def _keep(page, name: str) -> None:  # type: ignore[no-untyped-def]
    picture = Image.open(io.BytesIO(page.screenshot()))
    picture.convert("RGB").save(FOLDER / f"{name}.webp", quality=80, method=6)


if __name__ == "__main__":
    main()
