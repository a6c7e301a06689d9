"""The sandbox: a gateway of ours to try things out, with a book of its own."""

from __future__ import annotations

from pipeline.payments.gateways import GatewayKind
from pipeline.payments.sandbox import SandboxFaults, SandboxGateway
from pipeline.secret import webhook_secret
from pipeline.settings import Settings
from pipeline.webhooks.signing import Signer


def _open(settings: Settings) -> SandboxGateway:
    book = settings.sandbox_book or settings.home / "sandbox-gateway.db"
    faults = SandboxFaults(
        timeout_after=settings.sandbox_timeout_after, decline=settings.sandbox_decline
    )
    secret = Signer(webhook_secret(settings)).secret("gateway sandbox")
    return SandboxGateway(None if book == "memory" else book, faults, secret)


KIND = GatewayKind(_open)
