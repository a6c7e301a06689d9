"""Settings, typed by meaning; from the environment (ORDERMILL_…) or a `.env` file."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from ipaddress import ip_network
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import unquote, urlsplit

import stdnum.eu.vat
from pydantic import AfterValidator, Field, SecretStr, ValidationError
from pydantic_settings import BaseSettings, SettingsConfigDict
from stdnum.exceptions import ValidationError as NotValid

from pipeline.errors import ConfigurationError
from pipeline.problems import Problem, problems
from pipeline.vat import PUBLIC

Seconds = Annotated[float, Field(gt=0)]


def _own_vat_id(given: str) -> str:
    """In its one form; empty where there is none."""
    try:
        return stdnum.eu.vat.validate(given) if given else ""
    except NotValid:
        raise ValueError("a VAT id of an EU country, such as DE136695976") from None


def _networks(given: str) -> str:
    """Addresses and networks, as uvicorn has them."""
    named = [each.strip() for each in given.split(",") if each.strip()]
    try:
        for each in named:
            ip_network(each)
    except ValueError:
        raise ValueError("addresses and networks such as 10.0.0.5, 10.1.0.0/16") from None
    return ",".join(named)


#: Characters of the secret that others are made of: 24 of base64 are 18 bytes of chance.
LEAST_SECRET = 24


def _hard_to_guess(given: SecretStr) -> SecretStr:
    if 0 < len(given.get_secret_value()) < LEAST_SECRET:
        raise ValueError(
            f"at least {LEAST_SECRET} characters, such as `openssl rand -base64 32` makes"
        )
    return given


#: A password in libpq's other form: `host=… password='it\'s' dbname=…`.
_KEYWORD = re.compile(r"password\s*+=\s*+(?:'((?:[^'\\]|\\.)*+)'|([^\s']++))")


def _passwords(url: str) -> Iterator[str]:
    """Those in an address, as written and as meant: before the host, in the query, or by keyword."""
    if "://" not in url:
        for quoted, plain in _KEYWORD.findall(url):
            yield from {quoted or plain, re.sub(r"\\(.)", r"\1", quoted or plain)} - {""}
        return
    try:
        parts = urlsplit(url)
    except ValueError:  # whoever opens it says what is wrong
        return
    query = [pair.partition("=") for pair in parts.query.split("&")]
    for written in (parts.password, *(value for name, _, value in query if "pass" in name.lower())):
        if written:
            yield from {written, unquote(written)}


class Settings(BaseSettings):
    """Nothing set gives the embedded home: SQLite and a broker in the process, under `home`."""

    model_config = SettingsConfigDict(env_prefix="ORDERMILL_", env_file=".env", extra="ignore")

    home: Path = Field(Path(".ordermill"), description="folder of the embedded home")
    proxies: Annotated[str, AfterValidator(_networks)] = Field(
        "127.0.0.1, ::1",
        description="reverse proxies, by address or network: who the client is they are believed",
    )
    database_url: str = Field("", description="postgresql://…, sqlite:///…; empty: in `home`")
    broker_url: str = Field("memory://", description="memory://, redis://…, amqp://…")
    webhook_secret: Annotated[SecretStr, AfterValidator(_hard_to_guess)] = Field(
        SecretStr(""), description="master secret that webhooks are signed from"
    )
    webhook_allow: str = Field(
        "", description="hosts and networks that webhooks may go to although they are not public"
    )
    smtp_url: SecretStr = Field(
        SecretStr(""), description="smtp://user:password@host:port; empty: mails go to `home`/mail"
    )
    pager: SecretStr = Field(
        SecretStr(""), description="Apprise URLs of whom to call; empty: pages go to the log"
    )
    summary_to: str = Field(
        "", description="addresses that the daily summary is mailed to, separated by commas"
    )
    summary_urls: SecretStr = Field(
        SecretStr(""), description="Apprise URLs that the daily summary is posted to"
    )
    alerts: SecretStr = Field(
        SecretStr(""), description="Apprise URLs that are told of products that are low"
    )
    alerts_to: str = Field("", description="addresses that this is mailed to, separated by commas")
    stock_feed: SecretStr = Field(
        SecretStr(""), description="where counts come from: a folder, or http(s)://…"
    )
    stock_mapping: Path | None = Field(
        None, description="for counts in CSV: which column is which field"
    )
    stock_policy: Literal["report", "adjust", "hold"] = Field(
        "report", description="what is done about a count that differs"
    )
    stock_tolerance: int = Field(0, ge=0, description="units by which one may differ")
    mail_from: str = "Ordermill <orders@localhost>"

    batch: int = Field(1_000, gt=0, description="most orders taken through a stage at once")
    lease_seconds: Seconds = Field(
        15.0, description="how long a silent worker keeps its batch; renewed while it works"
    )
    attempts: int = Field(8, gt=0, description="tries of a stage before an order is held")
    worker_threads: int = Field(4, gt=0, description="batches a worker has in hand at once")
    gateway_calls: int = Field(32, gt=0, description="gateway calls a worker makes at once")
    gateway_rate: int = Field(
        0, ge=0, description="calls a second to a gateway, for each process; 0: no limit"
    )
    gateway_failures: int = Field(
        20, gt=0, description="failures in a row after which a gateway is left alone for a while"
    )
    gateway_rest: Seconds = Field(10.0, description="how long it is left alone before a probe")
    vies_url: str = Field(PUBLIC, description="where VIES is asked about VAT ids, by its REST form")
    vies_requester: Annotated[str, AfterValidator(_own_vat_id)] = Field(
        "", description="our own VAT id: VIES gives a consultation number to who names one"
    )
    vies_timeout: Seconds = Field(
        5.0, description="how long VIES has for one id; all of a batch: twice"
    )
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    log_format: Literal["text", "json"] = Field(
        "text", description="json: a line of JSON each, with what the message is about"
    )
    metrics_port: int = Field(
        0, ge=0, le=65_535, description="where this process is asked for its metrics; 0: nowhere"
    )
    metrics_host: str = Field("127.0.0.1", description="the address that this port is on")

    sandbox_book: str = Field(
        "", description="file of the sandbox gateway's book, or `memory`; empty: in `home`"
    )
    sandbox_timeout_after: float = Field(0.0, ge=0, le=1, description="share charged unanswered")
    sandbox_decline: float = Field(0.0, ge=0, le=1, description="share of cards declined")

    stripe_key: SecretStr = Field(SecretStr(""), description="sk_…; empty: there is no stripe")
    stripe_webhook_secret: SecretStr = Field(
        SecretStr(""), description="whsec_… of the endpoint that Stripe sends its events to"
    )
    stripe_return_url: str = Field("", description="where customers come back to from 3-D Secure")

    @property
    def database(self) -> str:
        return self.database_url or f"sqlite:///{self.home / 'ordermill.db'}"

    @property
    def mails(self) -> Path:
        """The folder that mails are laid into where there is no mail server."""
        return self.home / "mail"

    @property
    def secrets(self) -> list[str]:
        """Every value that must not be read in a log; a folder may."""
        values = [value.get_secret_value() for _, value in self if isinstance(value, SecretStr)]
        folder = self.stock_feed.get_secret_value()
        values += [*_passwords(self.database_url), *_passwords(self.broker_url)]
        return [value for value in values if value != folder or "://" in folder]

    @property
    def is_embedded(self) -> bool:
        """Everything in one process: a broker that no other process can see."""
        return self.broker_url.startswith("memory:")

    @property
    def is_home(self) -> bool:
        """The embedded home, where orders are tried out: SQLite, and all in one process."""
        return self.is_embedded and self.database.startswith("sqlite")

    @property
    def has_live_key(self) -> bool:
        """Whether some gateway's key may move real money: any that doesn't say it is for tests."""
        key = self.stripe_key.get_secret_value()
        return bool(key) and "_test_" not in key


def load_settings(**overrides: object) -> Settings:
    """Settings from the environment; ConfigurationError names each that is wrong."""
    try:
        return Settings(**overrides)  # type: ignore[arg-type] # pydantic checks them
    except ValidationError as error:
        wrong = "; ".join(map(_told, problems(error)))
        raise ConfigurationError(f"settings are wrong: {wrong}") from None


def _told(problem: Problem) -> str:
    """By the variable's name; what is secret is not repeated."""
    name = problem.field.replace(".", "_")
    field = Settings.model_fields.get(name)
    is_secret = field is not None and field.annotation is SecretStr
    value = "(withheld)" if is_secret else problem.value
    return str(replace(problem, field=f"ORDERMILL_{name.upper()}", value=value))
