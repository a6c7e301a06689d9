"""What is wrong with a deployment, in words a deployer can act on."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from typing import Any

from sqlalchemy import text

from pipeline import check_postgres, private
from pipeline.assembly import gateway_choice
from pipeline.check_broker import check_broker
from pipeline.checked import Check
from pipeline.overview import all_processes
from pipeline.payments import gateways
from pipeline.payments.choice import PLAY, GatewayChoice, mend
from pipeline.presence import MOST_SKEW
from pipeline.redaction import redact
from pipeline.settings import Settings
from pipeline.source import Policy
from pipeline.storage import clock, refusals, rules, sources, webhooks
from pipeline.storage.database import Database
from pipeline.storage.schema_version import Schema, wanted_schema
from pipeline.version import VERSION

A_DAY = 86_400.0


def check(settings: Settings, database: Database) -> list[Check]:
    """Look at everything; an error means that orders would not flow, or could be lost."""
    found = list(_database(database))
    can_be_read = not any(c.level == "error" and c.name in ("database", "schema") for c in found)
    found += [*check_broker(settings), *_secrets(settings), *_home(settings)]
    if can_be_read:
        found += [
            *_gateways(settings, database),
            *_vies(settings, database),
            *_rules(database),
            *_webhooks(database),
            *_messages(database),
            *_clocks(database),
        ]
    if all(c.level != "error" for c in found):
        found += _processes(settings, database)
    # A password may stand anywhere in a URL, and errors quote URLs.
    return [replace(c, found=redact(c.found), mend=redact(c.mend)) for c in found]


def _database(database: Database) -> Iterator[Check]:
    shown = database.shown
    try:
        schema = database.schema()
    except Exception as error:  # whatever a database answers with, the check says it
        cause = str(error).splitlines()[0]
        yield Check(
            "database", "error", f"{shown} can't be reached: {cause}",
            "start the server, or set ORDERMILL_DATABASE_URL",
        )  # fmt: skip
        return
    yield Check("database", "ok", shown)
    yield _schema(schema)
    if not database.is_sqlite:
        yield from _postgres(database)


def _schema(schema: Schema) -> Check:
    at = schema.revision or "nothing"
    if schema.serves_this_code:
        served = ", ".join(sorted(schema.serves))
        this = f"this is {VERSION}, written for {wanted_schema()}"
        return Check("schema", "ok", f"is at {at} and serves code for {served}; {this}")
    if schema.is_newer:
        return Check(
            "schema", "error",
            f"is at {at}, newer than this version, which was written for {wanted_schema()}",
            "install a newer version of Ordermill",
        )  # fmt: skip
    return Check(
        "schema", "error", f"is at {at}, this version needs {wanted_schema()}",
        "run `ordermill db upgrade`",
    )  # fmt: skip


def _postgres(database: Database) -> Iterator[Check]:
    yield from _durable(database)
    for found in check_postgres.look(database):
        yield Check(*found)


def _durable(database: Database) -> Iterator[Check]:
    with database.engine.connect() as connection:

        def setting(name: str) -> str:
            return str(connection.execute(text(f"SHOW {name}")).scalar_one())

        version = int(setting("server_version_num"))
        durable = {name: setting(name) for name in ("fsync", "full_page_writes")}
        commit = setting("synchronous_commit")
    if version < 150000:
        yield Check("postgres", "error", f"is version {version // 10000}", "use 15 or later")
    for name, value in durable.items():
        if value != "on":
            yield Check(
                name, "error", f"is {value}: a power cut loses accepted orders",
                f"set {name} = on in postgresql.conf",
            )  # fmt: skip
    if commit == "off":
        yield Check(
            "synchronous_commit", "error", "is off: a crash loses orders already accepted",
            "set synchronous_commit = on in postgresql.conf",
        )  # fmt: skip


def _secrets(settings: Settings) -> Iterator[Check]:
    if not settings.is_embedded and not settings.webhook_secret.get_secret_value():
        yield Check(
            "webhook secret", "error", "is not set: each host would sign with one of its own",
            "set ORDERMILL_WEBHOOK_SECRET, the same everywhere (`openssl rand -base64 32`)",
        )  # fmt: skip
    if not settings.is_embedded and settings.sandbox_book == "memory":
        yield Check(
            "sandbox gateway", "error", "keeps its book in memory: each process has its own",
            "unset ORDERMILL_SANDBOX_BOOK, or name a file",
        )  # fmt: skip
    if not settings.is_embedded and not settings.smtp_url.get_secret_value():
        yield Check(
            "mail", "warning", f"goes to files in {settings.home / 'mail'}",
            "set ORDERMILL_SMTP_URL",
        )  # fmt: skip


def _home(settings: Settings) -> Iterator[Check]:
    if private.is_open(settings.home):
        yield Check(
            "home", "warning", f"{settings.home} can be looked into by others on this machine",
            f"`chmod 700 {settings.home}`",
        )  # fmt: skip


def _gateways(settings: Settings, database: Database) -> Iterator[Check]:
    with database.snapshot() as tx:
        policies = {s.name: s.policy for s in sources.all_sources(tx).values()}
    yield from _unpaid(gateway_choice(settings), policies)
    paid_at: defaultdict[str, list[str]] = defaultdict(list)
    for name, policy in policies.items():
        if policy.gateway:
            paid_at[policy.gateway].append(name)
    for gateway, named_by in paid_at.items():
        if gateway in gateways.names():
            yield from gateways.kind(gateway).missing(settings, named_by)
        else:
            yield Check(
                gateway, "error", f"is the gateway of {', '.join(named_by)}, and isn't installed",
                f"install it, or name another: {', '.join(gateways.names())}",
            )  # fmt: skip


def _unpaid(choice: GatewayChoice, policies: Mapping[str, Policy]) -> Iterator[Check]:
    """Sources whose orders wait as nobody would be paid, and those that only play."""
    played = []
    for name, policy in policies.items():
        if lack := choice.lack(name, policy):
            yield Check("gateway", "error", f"{lack}: its orders wait", mend(name))
        elif choice.of(policy) == PLAY:
            played.append(name)
    if played and (not choice.is_home or choice.has_live_key):
        yield Check(
            "gateway", "warning",
            f"is the {PLAY} for {', '.join(played)}: their orders are confirmed, and nobody pays",
            mend(played[0]),
        )  # fmt: skip


def _vies(settings: Settings, database: Database) -> Iterator[Check]:
    with database.snapshot() as tx:
        asking = [s.name for s in sources.all_sources(tx).values() if s.policy.vat_check == "vies"]
    if asking and not settings.vies_requester:
        yield Check(
            "VIES", "warning",
            f"is asked about VAT ids of {', '.join(asking)}, and gives no consultation number: "
            "it isn't told who asks",
            "set ORDERMILL_VIES_REQUESTER to your own VAT id",
        )  # fmt: skip


def _rules(database: Database) -> Iterator[Check]:
    with database.snapshot() as tx:
        named = {s.name: s.policy.rules for s in sources.all_sources(tx).values()}
        known = rules.newest(tx, named.values())
    for source, name in named.items():
        if known[name].number is None:
            yield Check(
                "pricing rules", "warning",
                f"{source} is priced by {name}, which nobody has imported: no tax, no shipping",
                f"`ordermill pricing import FILE --name {name}`, or name others with `sources set`",
            )  # fmt: skip


def _webhooks(database: Database) -> Iterator[Check]:
    with database.snapshot() as tx:
        dead = webhooks.dead(tx)
    for endpoint in dead:
        yield Check(
            "webhooks", "warning",
            f"endpoint {endpoint.id} of {endpoint.source} is disabled: {endpoint.disabled_why}",
            f"look at `ordermill webhooks deliveries {endpoint.id}`, then "
            f"`ordermill webhooks enable {endpoint.id}`, or disable it by hand",
        )  # fmt: skip


def _processes(settings: Settings, database: Database) -> Iterator[Check]:
    with database.snapshot() as tx:
        alive = [p for p in all_processes(tx) if p.alive]
    there = {p.role for p in alive}
    for role in ("worker", "scheduler"):
        if role in there:
            yield Check(role, "ok", _versions(p for p in alive if p.role == role))
        else:
            start = "up" if settings.is_embedded else role
            yield Check(role, "warning", "none is running", f"start one with `ordermill {start}`")


def _clocks(database: Database) -> Iterator[Check]:
    """Nothing of ours waits by a host's clock, but dates of mails and signatures are by it, and whether
    a certificate or another's signature is too old."""
    with database.snapshot() as tx:
        wrong = {p.host: p.clock for p in all_processes(tx) if p.alive and p.clock}
        here = clock.skew(tx)
    if abs(here) > MOST_SKEW:
        wrong["this host"] = round(here)
    for host, seconds in wrong.items():
        yield Check(
            "clock", "warning", f"of {host} is {clock.told(seconds)}",
            "let both hosts keep time (NTP); webhooks that are signed by a wrong clock are refused",
        )  # fmt: skip


def _messages(database: Database) -> Iterator[Check]:
    with database.snapshot() as tx:
        count, last = refusals.put_aside_since(tx, A_DAY)
    if count:
        yield Check(
            "messages", "warning",
            f"{count} could not be read within a day, the last at {last:%Y-%m-%d %H:%M} UTC",
            "`ordermill refusals ls` says why; have them sent again",
        )  # fmt: skip


def _versions(running: Iterable[Any]) -> str:
    """How many of a role run, by the version of their code."""
    counted = Counter(
        f"version {p.version}, written for schema {p.code_schema}" if p.version
        else "a version that doesn't say which it is"
        for p in running
    )  # fmt: skip
    return "; ".join(f"{number} running: {version}" for version, number in sorted(counted.items()))
