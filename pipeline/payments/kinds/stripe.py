"""Stripe, where there is a key."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from pipeline.checked import Check
from pipeline.errors import ConfigurationError
from pipeline.payments.amounts import stripe_step
from pipeline.payments.gateway import Gateway
from pipeline.payments.gateways import GatewayKind
from pipeline.settings import Settings


def _open(settings: Settings) -> Gateway | None:
    if not settings.stripe_key.get_secret_value():
        return None
    try:
        from pipeline.payments.stripe import StripeGateway
    except ModuleNotFoundError as error:
        raise ConfigurationError(
            f"ORDERMILL_STRIPE_KEY is set, but {error.name} is not installed; "
            "install the extra: pip install 'ordermill[stripe]'"
        ) from error
    return StripeGateway(
        settings.stripe_key.get_secret_value(),
        settings.stripe_webhook_secret.get_secret_value(),
        return_url=settings.stripe_return_url,
    )


def _missing(settings: Settings, sources: Sequence[str]) -> Iterator[Check]:
    if not settings.stripe_key.get_secret_value():
        yield Check(
            "stripe", "error",
            f"is the gateway of {', '.join(sources)}, and there is no key to ask it with",
            "set ORDERMILL_STRIPE_KEY, or another gateway in the policy: "
            f"`ordermill sources set {sources[0]} …`",
        )  # fmt: skip
    elif not settings.stripe_webhook_secret.get_secret_value():
        yield Check(
            "stripe", "warning",
            "can't tell us of events: without their secret they are refused, and only polled for",
            "set ORDERMILL_STRIPE_WEBHOOK_SECRET to the endpoint's signing secret",
        )  # fmt: skip


KIND = GatewayKind(_open, step=stripe_step, missing=_missing)
