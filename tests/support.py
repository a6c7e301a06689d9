"""What tests are told with: a shop with products, orders to send, and a mill that turns by hand."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from sqlalchemy import or_, select, text, update

from pipeline.assembly import Application, steps
from pipeline.chain import STEPS
from pipeline.engine.engine import Engine, Limits
from pipeline.engine.leases import Leases
from pipeline.intake.accept import Intake, Receipt
from pipeline.notifications.deliver import Courier
from pipeline.notifications.message import Delivered, Notification
from pipeline.payments.callers import Callers
from pipeline.payments.events import GatewayEvents
from pipeline.payments.gateway import Gateway
from pipeline.payments.manual import ManualGateway
from pipeline.payments.sandbox import SandboxGateway
from pipeline.payments.tasks import TaskRunner
from pipeline.pricing.rules import Rules
from pipeline.source import Policy, Source
from pipeline.storage import catalogue, job_runs, sources, stock
from pipeline.storage import rules as rule_sets
from pipeline.storage.database import Database
from pipeline.storage.sql import now
from pipeline.storage.tables import dispatches, events, orders
from pipeline.vat.check import VatCheck
from pipeline.vat.vies import VatIds
from scheduler.job import Job

MUG, TEE, POSTER = "MUG-01", "TEE-01", "POSTER-01"
_numbers = itertools.count(1)


class Inbox:
    """A sender that keeps what it is given."""

    def __init__(self) -> None:
        self.received: list[Notification] = []

    def send(self, notifications: Sequence[Notification]) -> Any:
        for notification in notifications:
            self.received.append(notification)
            yield Delivered()


def on_some_gateway(policy: Policy) -> Policy:
    """With the sandbox where it names none, as it must on Postgres."""
    return policy if policy.gateway else policy.model_copy(update={"gateway": "sandbox"})


class NobodyKnows:
    """In place of VIES, where no test means to ask it: the public one is never called."""

    def ask(self, vat_ids: Collection[str]) -> dict[str, VatCheck]:
        raise AssertionError(f"VIES was asked about {sorted(vat_ids)}")


class Mill:
    """A shop on one database, with the engine turned by the test's own hand."""

    def __init__(
        self,
        database: Database,
        *,
        gateway: Gateway | None = None,
        policy: Policy | None = None,
        rules: Mapping[str, Any] | None = None,
        limits: Limits | None = None,
        serves: Sequence[str] = STEPS,
        vat_ids: VatIds | None = None,
    ) -> None:
        self.database = database
        self.gateway = gateway or SandboxGateway(None)
        self.gateways = {"manual": ManualGateway(), self.gateway.name: self.gateway}
        self.inbox = Inbox()
        self.courier = Courier(self.inbox, self.inbox)
        self.announced: list[tuple[str, int]] = []
        callers = Callers(self.gateways, 8)
        made = steps(callers, self.courier, vat_ids or NobodyKnows())
        made["undo_pay"].latest_charge = 0.0  # type: ignore[attr-defined] # no worker of a test is late
        self.engine = Engine(
            database,
            made,
            self,
            Leases(database, 15.0),
            limits or Limits(),
            serves,
        )
        self.intake = Intake(database, self.engine.announce)
        self.gateway_events = GatewayEvents(database, callers, self.engine.announce)
        self.payment_tasks = TaskRunner(database, callers)
        with database.transaction() as tx:
            sources.put(tx, "shop", on_some_gateway(policy or Policy()))
            self.source: Source = sources.by_name(tx, "shop")
        if rules is not None:
            self.price_by(rules)

    def price_by(self, rules: Mapping[str, Any]) -> int:
        """Import `rules` for the source, as they would stand in a file; their version."""
        with self.database.transaction() as tx:
            name = self.source.policy.rules
            return rule_sets.add(tx, name, Rules.model_validate(rules), "test")

    def announce(self, step: str, dispatch_id: int) -> None:
        self.announced.append((step, dispatch_id))

    def another_source(self, name: str, policy: Policy) -> Source:
        with self.database.transaction() as tx:
            sources.put(tx, name, on_some_gateway(policy))
            return sources.by_name(tx, name)

    def stocked(self, *, units: int = 100, backorder: bool = False) -> Mill:
        """Three products at 10.00, 20.00 and 5.00 EUR, with so many units each."""
        with self.database.transaction() as tx:
            catalogue.put(
                tx,
                [
                    catalogue.ProductIn(sku, sku.title(), True, backorder, {"EUR": price})
                    for sku, price in ((MUG, 1000), (TEE, 2000), (POSTER, 500))
                ],
            )
            receipts = [stock.Movement(s, "main", "receipt", units) for s in (MUG, TEE, POSTER)]
            assert stock.post(tx, receipts if units else [], "test") == []
        return self

    def receive(self, sku: str, units: int) -> None:
        with self.database.transaction() as tx:
            assert stock.post(tx, [stock.Movement(sku, "main", "receipt", units)], "test") == []

    def accept(self, **changes: Any) -> int:
        """Send one order; its id."""
        receipt = self.send(an_order(**changes))
        assert receipt.order_id is not None, receipt
        return receipt.order_id

    def send(self, data: Any) -> Receipt:
        return self.intake.accept_all(self.source, [data])[0]

    def turn(self, *, impatient: bool = True) -> None:
        """Work until nothing is due; `impatient` makes waiting retries due at once."""
        for _ in range(200):
            if impatient:
                self.make_due()
            if not sum(self.engine.work(step) for step in STEPS):
                return
        raise AssertionError("the mill does not come to rest")

    def make_due(self) -> None:
        """As if the time of every waiting retry but those for stock had come."""
        with self.database.transaction() as tx:
            tx.execute(
                update(dispatches)
                .where(
                    dispatches.c.leased_until.is_(None),
                    or_(dispatches.c.step != "reserve", dispatches.c.due_at < now(250)),
                )
                .values(due_at=now())
            )

    def expire_leases(self) -> None:
        """As if everyone who works on something had died."""
        with self.database.transaction() as tx:
            tx.execute(
                update(dispatches)
                .where(dispatches.c.leased_until.is_not(None))
                .values(leased_until=now(-1))
            )

    def row(self, order_id: int) -> Any:
        with self.database.snapshot() as tx:
            return tx.execute(select(orders).where(orders.c.id == order_id)).one()

    def status(self, order_id: int) -> str:
        return str(self.row(order_id).status)

    def timeline(self, order_id: int) -> list[str]:
        """The kinds of its events, in order."""
        with self.database.snapshot() as tx:
            query = select(events.c.kind).where(events.c.order_id == order_id)
            return list(tx.execute(query.order_by(events.c.seq)).scalars())

    def query(self, sql: str, **values: Any) -> list[Any]:
        with self.database.snapshot() as tx:
            return list(tx.execute(text(sql), values))


def ask(app: Application, job: Job, asked_by: str) -> int:
    """Let a job run beside its schedule; the run's number."""
    with app.database.transaction() as tx:
        return job_runs.ask(tx, job.name, asked_by)


def an_order(**changes: Any) -> dict[str, Any]:
    """A good order for two mugs, with `changes`; `method` and `lines` ([(sku, n), …]) for short."""
    lines = changes.pop("lines", [(MUG, 2)])
    order = {
        "external_id": f"web-{next(_numbers)}",
        "currency": "EUR",
        "customer": {"email": "ada@example.com", "name": "Ada"},
        "ship_to": {"country": "DE", "postal_code": "10115"},
        "lines": [{"sku": sku, "quantity": quantity} for sku, quantity in lines],
        "payment": {"method": changes.pop("method", "pm_card_visa")},
    }
    return {**order, **changes}
