"""What is wrong with a deployment, in words a deployer can act on."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

import redis
from sqlalchemy import text

from pipeline.settings import Settings
from pipeline.storage import processes, rules, sources, webhooks
from pipeline.storage.database import Database, Schema, wanted_schema
from pipeline.version import VERSION

Level = Literal["ok", "warning", "error"]


@dataclass(frozen=True, slots=True)
class Check:
    """One thing looked at. `mend` says what to do about it, unless it is ok."""

    name: str
    level: Level
    found: str
    mend: str = ""


def check(settings: Settings, database: Database) -> list[Check]:
    """Look at everything; an error means that orders would not flow, or could be lost."""
    found = [*_database(database), *_broker(settings), *_secrets(settings)]
    if all(c.level != "error" for c in found):
        found += [
            *_gateways(settings, database),
            *_vies(settings, database),
            *_rules(database),
            *_webhooks(database),
        ]
        found += _processes(settings, database)
    return found


def _database(database: Database) -> Iterator[Check]:
    shown = database.url.render_as_string(hide_password=True)
    try:
        schema = database.schema()
    except Exception as error:
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


def _broker(settings: Settings) -> Iterator[Check]:
    shown = settings.broker_url.split("@")[-1]
    scheme = settings.broker_url.split(":", 1)[0]
    if scheme in ("memory", "amqp", "amqps"):
        yield Check("broker", "ok", shown)
        return
    if scheme not in ("redis", "rediss", "unix"):
        yield Check(
            "broker", "error", f"{shown} is of no known kind",
            "set ORDERMILL_BROKER_URL to memory://, redis://… or amqp://…",
        )  # fmt: skip
        return
    client: Any = redis.Redis.from_url(settings.broker_url, socket_connect_timeout=3)
    try:
        persistence = client.config_get("appendonly").get("appendonly")
        eviction = client.config_get("maxmemory-policy").get("maxmemory-policy")
    except redis.RedisError as error:
        yield Check(
            "broker", "error", f"{shown} can't be reached: {error}",
            "start the server, or set ORDERMILL_BROKER_URL",
        )  # fmt: skip
        return
    yield Check("broker", "ok", shown)
    if persistence == "no":
        yield Check(
            "broker persistence", "warning",
            "is off: orders enqueued as messages and not yet taken in are lost when it restarts "
            "(orders accepted in any other way are safe)",
            "set appendonly yes",
        )  # fmt: skip
    if eviction != "noeviction":
        yield Check(
            "broker eviction", "error", f"is {eviction}: it drops messages when memory is short",
            "set maxmemory-policy noeviction",
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


def _gateways(settings: Settings, database: Database) -> Iterator[Check]:
    with database.snapshot() as tx:
        on_stripe = [
            s.name for s in sources.all_sources(tx).values() if s.policy.gateway == "stripe"
        ]
    if on_stripe and not settings.stripe_key.get_secret_value():
        yield Check(
            "stripe", "error",
            f"is the gateway of {', '.join(on_stripe)}, and there is no key to ask it with",
            "set ORDERMILL_STRIPE_KEY, or another gateway in the policy: "
            f"`ordermill sources set {on_stripe[0]} …`",
        )  # fmt: skip
    elif on_stripe and not settings.stripe_webhook_secret.get_secret_value():
        yield Check(
            "stripe", "warning",
            "can't tell us of events: without their secret they are refused, and only polled for",
            "set ORDERMILL_STRIPE_WEBHOOK_SECRET to the endpoint's signing secret",
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
        alive = [p for p in processes.all_processes(tx) if p.alive]
    there = {p.role for p in alive}
    for role in ("worker", "scheduler"):
        if role in there:
            yield Check(role, "ok", _versions(p for p in alive if p.role == role))
        else:
            start = "up" if settings.is_embedded else role
            yield Check(role, "warning", "none is running", f"start one with `ordermill {start}`")


def _versions(running: Iterable[Any]) -> str:
    """How many of a role run, by the version of their code."""
    counted = Counter(
        f"version {p.version}, written for schema {p.code_schema}" if p.version
        else "a version that doesn't say which it is"
        for p in running
    )  # fmt: skip
    return "; ".join(f"{number} running: {version}" for version, number in sorted(counted.items()))
