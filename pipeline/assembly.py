"""Where everything is put together, once: settings in, a working application out.

Processes call `assemble(settings, announcer)`; tests call it with doubles.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

from pipeline.chain import STEPS
from pipeline.engine.engine import Announcer, Engine, Limits
from pipeline.engine.leases import Leases
from pipeline.intake.accept import Intake
from pipeline.notifications.deliver import Courier
from pipeline.notifications.email import EmailSender, FileMailbox
from pipeline.notifications.pager import LogPager, Pager
from pipeline.opening import open_database
from pipeline.payments import gateways as known
from pipeline.payments.callers import Callers
from pipeline.payments.choice import AT_HOME, GatewayChoice
from pipeline.payments.events import GatewayEvents
from pipeline.payments.gateway import Gateway
from pipeline.payments.guard import Breaker, GuardedGateway
from pipeline.payments.tasks import TaskRunner
from pipeline.secret import webhook_secret
from pipeline.settings import Settings
from pipeline.stages.notify import Notify
from pipeline.stages.pay import Pay
from pipeline.stages.price import Price
from pipeline.stages.reserve import Reserve, UndoReserve
from pipeline.stages.step import Step
from pipeline.stages.undo_pay import UndoPay
from pipeline.stages.validate import Validate
from pipeline.storage import currencies
from pipeline.storage.database import Database
from pipeline.vat.check import TRIES
from pipeline.vat.vies import VatIds, Vies
from pipeline.webhooks.endpoints import Webhooks
from pipeline.webhooks.signing import Signer
from pipeline.webhooks.targets import parse_allowed

#: Seconds that a process which is starting waits for its database.
DATABASE_PATIENCE = 300.0


@dataclass(frozen=True, slots=True)
class Application:
    """What a process of ours works with."""

    settings: Settings
    database: Database
    engine: Engine
    intake: Intake
    gateways: Mapping[str, Gateway]
    choice: GatewayChoice
    gateway_events: GatewayEvents
    payment_tasks: TaskRunner
    courier: Courier
    webhooks: Webhooks

    def close(self) -> None:
        self.engine.leases.stop()
        self.database.close()


def assemble(
    settings: Settings,
    announcer: Announcer,
    *,
    gateways: Mapping[str, Gateway] | None = None,
    courier: Courier | None = None,
    serves: Collection[str] = STEPS,
    patience: float = 0.0,
    role: str = "",
    looks_after_commit: bool = False,
) -> Application:
    """An application on the database of `settings`; its schema must be current (SchemaOutdated).

    `serves` are the steps that this process works on; for `patience` seconds it waits for a
    database that is away. `role` is what it is called there. `looks_after_commit`: a person waits, who
    is to be told for sure what was done (Database.look_after_commit).
    """
    database = open_database(settings, role)
    if looks_after_commit:
        database.look_after_commit()
    database.wait_until_there(patience)
    database.require_schema()
    currencies.adopt(database)
    callers = Callers(gateways or open_gateways(settings), settings.gateway_calls)
    courier = courier or _courier(settings)
    choice = gateway_choice(settings)
    engine = Engine(
        database,
        steps(callers, courier, _vies(settings), min(TRIES, settings.attempts), choice),
        announcer,
        Leases(database, settings.lease_seconds),
        Limits(
            settings.batch,
            settings.lease_seconds,
            settings.attempts,
            max(1, settings.worker_threads // 4),
        ),
        serves,
    )
    intake = Intake(database, engine.announce, settings.batch)
    return Application(
        settings,
        database,
        engine,
        intake,
        callers.gateways,
        choice,
        GatewayEvents(database, callers, engine.announce),
        TaskRunner(database, callers),
        courier,
        open_webhooks(settings),
    )


def steps(
    callers: Callers,
    courier: Courier,
    vat_ids: VatIds | None = None,
    vat_tries: int = TRIES,
    choice: GatewayChoice = AT_HOME,
) -> dict[str, Step[Any, Any]]:
    """Every step by the name of its queue. `vat_ids` are asked about VAT ids, `vat_tries` times at
    most; None: the public VIES. `choice` is which gateway an order is paid at."""
    return {
        "validate": Validate(choice),
        "price": Price(vat_ids or Vies(), vat_tries),
        "pay": Pay(callers, choice),
        "reserve": Reserve(),
        "notify": Notify(courier),
        "undo_pay": UndoPay(callers),
        "undo_reserve": UndoReserve(),
    }


def open_webhooks(settings: Settings) -> Webhooks:
    return Webhooks(Signer(webhook_secret(settings)), parse_allowed(settings.webhook_allow))


def gateway_choice(settings: Settings) -> GatewayChoice:
    return GatewayChoice(settings.is_home, settings.has_live_key)


def open_gateways(settings: Settings) -> dict[str, Gateway]:
    """The gateways that the settings name, by name, each with the guard of this process around it."""
    kinds = {name: known.kind(name) for name in known.names()}
    opened = {name: kind.open(settings) for name, kind in kinds.items()}
    return {
        # One that moves no money asks nobody: there is nothing to guard.
        name: _guarded(gateway, settings) if kinds[name].moves_money else gateway
        for name, gateway in opened.items()
        if gateway is not None
    }


def _vies(settings: Settings) -> VatIds:
    return Vies(settings.vies_url, settings.vies_requester, limit=settings.vies_timeout)


def _guarded(gateway: Gateway, settings: Settings) -> Gateway:
    breaker = Breaker(settings.gateway_failures, settings.gateway_rest)
    return GuardedGateway(gateway, breaker=breaker, rate=settings.gateway_rate)


def _courier(settings: Settings) -> Courier:
    smtp = settings.smtp_url.get_secret_value()
    mail = (
        EmailSender(smtp, settings.mail_from)
        if smtp
        else FileMailbox(settings.mails, settings.mail_from)
    )
    urls = settings.pager.get_secret_value()
    pager = Pager(urls) if urls else LogPager()
    return Courier(mail, pager=pager)
