"""The gateways under one suite, each with its customers, banks and console."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Literal, Protocol

import httpx
from stripe import WebhookSignature

from pipeline.payments.gateway import Gateway, GatewayEvent
from pipeline.payments.sandbox import SandboxGateway
from pipeline.payments.stripe import StripeGateway
from tests.payments.faulty_proxy import FaultyProxy

SECRET = "whsec_dGVzdHMgYXJlIG5vIHNlY3JldA=="
STRIPE_KEY = "sk_test_51conformance"


class House(Protocol):
    """A gateway and what happens there without us.

    `good`, `declined` and `waits` are payment methods: one that pays, one that is declined, and
    one whose customer must act first.
    """

    gateway: Gateway
    good: str
    declined: str
    waits: str

    def confirm(self, reference: str) -> None: ...
    def fail(self, reference: str) -> None: ...
    def refund(self, reference: str, amount: int) -> str: ...
    def bounce(self, refund: str) -> None: ...
    def dispute(self, reference: str, amount: int) -> str: ...
    def close_dispute(self, dispute: str, *, won: bool) -> None: ...
    def sign(self, event: GatewayEvent, at: datetime) -> tuple[bytes, dict[str, str]]: ...


class SandboxHouse:
    good, declined, waits = "pm_card_visa", "pm_card_declined", "pm_requires_action"

    def __init__(self, book: Path | None) -> None:
        self.gateway = SandboxGateway(book, secret=SECRET)
        self.confirm = self.gateway.confirm
        self.fail = self.gateway.fail
        self.refund = self.gateway.refund_at_gateway
        self.bounce = self.gateway.bounce
        self.dispute = self.gateway.dispute
        self.close_dispute = self.gateway.close_dispute
        self.sign = self.gateway.sign


class StripeHouse:
    good, declined = "pm_card_visa", "pm_card_chargeCustomerFail"

    def __init__(self, proxy: FaultyProxy) -> None:
        self.gateway = StripeGateway(STRIPE_KEY, SECRET, base=proxy.url, timeout=httpx.Timeout(2.0))
        self._proxy = proxy
        self._console = httpx.Client(
            base_url=proxy.url, headers={"Authorization": f"Bearer {STRIPE_KEY}"}
        )

    @property
    def waits(self) -> str:
        card = {"number": "4000002500003155", "exp_month": 12, "exp_year": 2030, "cvc": "123"}
        fields = {"type": "card", **{f"card[{name}]": value for name, value in card.items()}}
        return str(self._post("/v1/payment_methods", fields)["id"])

    def confirm(self, reference: str) -> None:
        self._authenticate(reference, "true")

    def fail(self, reference: str) -> None:
        self._authenticate(reference, "false")

    def refund(self, reference: str, amount: int) -> str:
        made = self._post("/v1/refunds", {"payment_intent": reference, "amount": amount})
        return str(made["id"])

    def bounce(self, refund: str) -> None:
        self._proxy.bounce(refund)

    def dispute(self, reference: str, amount: int) -> str:
        return self._proxy.dispute(reference, amount)

    def close_dispute(self, dispute: str, *, won: bool) -> None:
        state: Literal["won", "lost"] = "won" if won else "lost"
        self._proxy.close_dispute(dispute, state)

    def sign(self, event: GatewayEvent, at: datetime) -> tuple[bytes, dict[str, str]]:
        body = (
            f'{{"id": "{event.id}", "object": "event", "type": "{event.type}", "data": '
            f'{{"object": {{"id": "{event.reference}", "object": "payment_intent"}}}}}}'
        )
        signature = WebhookSignature.generate_signature_header(body, SECRET, int(at.timestamp()))
        return body.encode(), {"Stripe-Signature": signature}

    def _authenticate(self, reference: str, success: str) -> None:
        secret = self._console.get(f"/v1/payment_intents/{reference}").json()["client_secret"]
        path = f"/v1/payment_intents/{reference}/_authenticate"
        self._post(path, {"client_secret": secret, "success": success})

    def _post(self, path: str, fields: dict[str, object]) -> dict[str, object]:
        response = self._console.post(path, data=fields)
        assert response.status_code == 200, response.text
        data: dict[str, object] = response.json()
        return data
