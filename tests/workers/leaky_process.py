"""Ordermill in one process, as `ordermill up` runs it, among things that spill what they were given:
a gateway, a mail server, a message, a thread. Everything they spill is in `SPILLED`."""

from __future__ import annotations

import sys
import threading
import time
from pathlib import Path
from unittest.mock import patch

from dramatiq import Message

from ordermill.processes import Everything, running, upgrade_embedded
from ordermill.session import configure_logging
from pipeline import assembly
from pipeline.payments.gateway import Answer, Call, Gateway, Unavailable, Unknown
from pipeline.payments.sandbox import SandboxGateway
from pipeline.redaction import guard_logs
from pipeline.settings import Settings, load_settings
from scheduler.job import Every, Job
from scheduler.tick import run_until_ended
from tests.support import Mill, an_order, ask

CARD = "4111 1111 1111 1111"
KEY = "sk_" + "live_51HxZ8KLkdIwHu7ixQ"
PASSWORD = "hunter-two-and-a-half"
TOLD = ["order.confirmed"]
WEBHOOK = "whsec_" + "bWFzdGVyIG9mIGFsbA"
CLIENT = "pi_3Mtw_secret_YrKJUKribcBjcG8HVhf"
SPILLED = (CARD, CARD.replace(" ", ""), KEY, PASSWORD, WEBHOOK, CLIENT, CLIENT.rpartition("_")[2])
SPILL = f"card {CARD}, key {KEY}, {CLIENT}, at smtp://shop:{PASSWORD}@mail.invalid with {WEBHOOK}"


class LeakyGateway(SandboxGateway):
    """It quotes what it was given, in whatever it says."""

    def perform(self, call: Call) -> Answer:
        match call.method:
            case "pm_defect":
                raise RuntimeError(f"unexpected: {SPILL}")
            case "pm_unknown":
                return Unknown(SPILL)
            case "pm_away":
                return Unavailable(SPILL)
        return super().perform(call)


def main(home: Path) -> None:
    guard_logs()
    settings = load_settings(
        home=home,
        webhook_secret=WEBHOOK,
        smtp_url=f"smtp://shop:{PASSWORD}@localhost:1",
        attempts=2,
        log_level="DEBUG",
        database_url="",
        broker_url="memory://",
        webhook_allow="localhost",
    )
    configure_logging(settings)
    upgrade_embedded(settings)
    with patch.object(assembly, "open_gateways", _open):
        everything = Everything(settings)
    app = everything.worker.app
    shop = Mill(app.database).stocked()
    with app.database.transaction() as tx:
        app.webhooks.create(tx, shop.source.id, "http://localhost:1/hook", "test", types=TOLD)
    with running(everything):
        for method in ("pm_defect", "pm_unknown", "pm_away", "pm_card_visa"):
            app.intake.accept(shop.source, an_order(method=method))
        _send(everything, "shop", [an_order(metadata={"note": CARD}), {"card": CARD, CARD: KEY}])
        _send(everything, {"source": CARD}, SPILL)  # no arguments that the actor expects
        leaky = Job("leaky", Every(60), "fails", _fail)
        run_until_ended(app, leaky, ask(app, leaky, "test"))
        thread = threading.Thread(target=_fail, args=(app,), name="leaky")
        thread.start()
        thread.join()
        _await(shop)
    raise ValueError(f"nobody catches this: {SPILL}")


def _open(settings: Settings) -> dict[str, Gateway]:
    return {"sandbox": LeakyGateway(settings.home / "book.db")}


def _send(everything: Everything, *args: object) -> None:
    everything.worker.broker.enqueue(
        Message(queue_name="intake", actor_name="accept_orders", args=args, kwargs={}, options={})
    )


def _fail(app: object) -> dict[str, object]:
    raise ConnectionError(f"away: {SPILL}")


def _await(shop: Mill) -> None:
    """Until all of it has been met."""
    give_up = time.monotonic() + 30
    wanted = (
        "SELECT count(*) AS n FROM orders WHERE reason IN ('defect', 'payment_unknown') "
        "AND status = 'on_hold'",
        "SELECT count(*) AS n FROM orders WHERE reason = 'gateway_unavailable'",
        "SELECT count(*) AS n FROM refusals",
        "SELECT count(*) AS n FROM notifications WHERE error IS NOT NULL",
        "SELECT count(*) AS n FROM webhook_deliveries WHERE error IS NOT NULL",
    )
    while [shop.query(query)[0].n for query in wanted] != [2, 1, 3, 1, 1]:
        assert time.monotonic() < give_up, [shop.query(query)[0].n for query in wanted]
        time.sleep(0.05)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
