"""What Stripe says, in our words: amounts, answers, payments, entries, events. Pure.

Objects of Stripe's hold client secrets and print themselves whole, and its errors quote what was
sent: none of them may get into a message, an exception of ours or a log. Codes and ids may.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Literal

import httpx
import stripe

from pipeline.payments.amounts import from_stripe
from pipeline.payments.gateway import (
    Answer,
    BookEntry,
    Call,
    Declined,
    GatewayEvent,
    Kind,
    Payment,
    Refused,
    RequiresAction,
    Reversal,
    Succeeded,
    Unavailable,
    Unknown,
    capture_key,
    void_key,
)
from pipeline.typed import is_digits

_NEVER_SENT = (
    httpx.ConnectError,
    httpx.ConnectTimeout,
    httpx.PoolTimeout,
    httpx.ProxyError,
    httpx.UnsupportedProtocol,
)


def moment(timestamp: int | None) -> datetime | None:
    return None if timestamp is None else datetime.fromtimestamp(timestamp, UTC)


def note(noted: Any, name: str) -> str | None:
    """The metadata `name` of an object."""
    notes = noted.metadata
    return str(notes[name]) if notes is not None and name in notes else None


def id_of(reference: Any) -> str | None:
    """The id of what may be expanded or not."""
    return reference if reference is None or isinstance(reference, str) else str(reference.id)


# Errors


def answer_to(error: stripe.StripeError) -> Answer:
    """What an error means for the call that met it."""
    match error:
        case stripe.CardError():
            return Declined(_decline_code(error))
        case stripe.RateLimitError():
            return Unavailable("stripe answered 429", _retry_after(error))
        case stripe.AuthenticationError() | stripe.PermissionError():
            return Unavailable(f"stripe refuses our key ({error.http_status})")
        case stripe.InvalidRequestError():
            return Refused(error.code or "invalid_request")
        case stripe.APIConnectionError():
            cause = type(error.__cause__).__name__
            if isinstance(error.__cause__, _NEVER_SENT):
                return Unavailable(f"stripe could not be reached: {cause}")
            return Unknown(f"stripe gave no answer: {cause}")
    return Unknown(f"stripe answered {error.http_status}")


def cause(error: stripe.StripeError) -> str:
    """What went wrong, in words that may be logged."""
    answer = answer_to(error)
    return answer.cause if isinstance(answer, Unknown | Unavailable) else str(error.http_status)


def was_replayed(made: stripe.PaymentIntent) -> bool:
    """Whether it is what Stripe had saved under the idempotency key, not what is now."""
    answer = made.last_response
    return answer is not None and _is_replay(answer.headers)


def is_saved_failure(error: stripe.StripeError) -> bool:
    """Whether it is what Stripe once answered under the key: it failed, or called it invalid."""
    failed = (error.http_status or 0) >= 500 or isinstance(error, stripe.InvalidRequestError)
    return failed and _is_replay(error.headers)


def answered_at(error: stripe.StripeError) -> datetime | None:
    """When Stripe answered so, by its own clock."""
    told = (error.headers or {}).get("date")
    try:
        return None if told is None else parsedate_to_datetime(told)
    except ValueError:
        return None


def _is_replay(headers: Any) -> bool:
    return bool(headers) and headers.get("idempotent-replayed") == "true"


def _decline_code(error: stripe.CardError) -> str:
    detail = error.error
    return getattr(detail, "decline_code", None) or error.code or "card_declined"


def _retry_after(error: stripe.StripeError) -> float | None:
    try:
        return float((error.headers or {})["retry-after"])
    except (KeyError, ValueError):
        return None


# Payments


def authorization(intent: stripe.PaymentIntent) -> Answer:
    """What has become of an authorization, its charge expanded."""
    match intent.status:
        case "requires_capture" | "succeeded":
            return Succeeded(intent.id)
        case "requires_action" | "processing":
            return RequiresAction(intent.id)
        case "requires_payment_method":
            error = intent.last_payment_error
            return Declined((error.code if error is not None else None) or "payment_failed")
        case "canceled":
            stood = getattr(intent.latest_charge, "paid", False)
            return Succeeded(intent.id) if stood else Declined("already_voided")
    return Unknown(f"stripe says that the payment {intent.status}")


def ended(call: Call, intent: stripe.PaymentIntent) -> Answer | None:
    """What has become of a capture or a void; None: nothing yet.

    There is one end to each authorization, and it has the key of ours: whoever captured this
    amount, or voided, did what was asked.
    """
    if intent.status == "canceled":
        return Succeeded(intent.id) if call.kind == "void" else Declined("already_voided")
    if intent.status != "succeeded":
        return None
    captured = from_stripe(intent.amount_received, intent.currency)
    if call.kind == "capture" and captured == call.amount:
        return Succeeded(id_of(intent.latest_charge) or intent.id)
    return Declined("already_captured")


def refund(made: stripe.Refund) -> Answer:
    if made.status in ("failed", "canceled"):
        return Declined(made.failure_reason or "refund_failed")
    return Succeeded(made.id)


def payment(
    intent: stripe.PaymentIntent,
    refunds: list[stripe.Refund],
    disputes: list[stripe.Dispute],
) -> Payment:
    currency = intent.currency
    reversals = [_refund(made, currency) for made in refunds]
    reversals += [_dispute(made) for made in disputes]
    redirect = getattr(intent.next_action, "redirect_to_url", None)
    return Payment(
        reference=intent.id,
        key=note(intent, "key"),
        order_id=_order_id(note(intent, "order")),
        status=_STATUS.get(intent.status, "failed"),
        amount=from_stripe(intent.amount, currency),
        currency=currency.upper(),
        captured=from_stripe(intent.amount_received, currency),
        reversals=tuple(reversals),
        action_url=redirect.url if redirect is not None else None,
    )


def _order_id(noted: str | None) -> int | None:
    """What others write there may be anything; an id is of 18 digits at most, as databases have it."""
    return int(noted) if noted and is_digits(noted) and len(noted) <= 18 else None


_STATUS: dict[str, Literal["requires_action", "authorized", "captured", "voided", "failed"]] = {
    "requires_action": "requires_action",
    "processing": "requires_action",
    "requires_capture": "authorized",
    "succeeded": "captured",
    "canceled": "voided",
}

ReversalState = Literal["open", "succeeded", "failed"]


def _refund(made: stripe.Refund, currency: str) -> Reversal:
    state: ReversalState = "open"
    if made.status in ("succeeded", "failed"):
        state = "succeeded" if made.status == "succeeded" else "failed"
    elif made.status == "canceled":
        state = "failed"
    return Reversal("refund", made.id, note(made, "key"), from_stripe(made.amount, currency), state)


def _dispute(made: stripe.Dispute) -> Reversal:
    state: ReversalState = "succeeded" if is_lost(made) else "open"
    if made.status in ("won", "warning_closed", "prevented"):
        state = "failed"
    return Reversal("dispute", made.id, None, from_stripe(made.amount, made.currency), state)


def is_lost(made: stripe.Dispute) -> bool:
    return made.status == "lost"


# The book


def intent_entries(intent: stripe.PaymentIntent) -> Iterator[BookEntry]:
    """What an authorization of ours has come to, as far as it tells: its charge is expanded."""
    charge, key = intent.latest_charge, note(intent, "key")
    if key is None:
        return
    if isinstance(charge, stripe.Charge) and charge.paid:
        yield _entry(intent, "authorize", key, intent.id, intent.amount, charge.created)
        if intent.status == "succeeded":
            made = charge.balance_transaction
            known = made if isinstance(made, stripe.BalanceTransaction) else None
            capture = _entry(
                intent, "capture", capture_key(key), charge.id, intent.amount_received,
                known.created if known else charge.created,
            )  # fmt: skip
            yield replace(capture, fee=_fee(known, intent.currency))
    if intent.status == "canceled":
        yield _entry(intent, "void", void_key(key), intent.id, intent.amount, intent.canceled_at)


def reversal_entries(
    kind: Literal["refund", "dispute"], made: stripe.Refund | stripe.Dispute
) -> Iterator[BookEntry]:
    """A refund or a dispute of a payment of ours, that payment expanded; none for others."""
    intent = made.payment_intent
    if isinstance(intent, stripe.PaymentIntent) and note(intent, "key") is not None:
        key = note(made, "key") if kind == "refund" else None
        yield _entry(intent, kind, key or made.id, made.id, made.amount, made.created)


def _entry(
    intent: stripe.PaymentIntent, kind: Kind, key: str, reference: str, amount: int, at: int | None
) -> BookEntry:
    currency = intent.currency.upper()
    amount = from_stripe(amount, currency)
    return BookEntry(kind, key, reference, amount, currency, intent.id, moment(at))


def _fee(made: stripe.BalanceTransaction | None, currency: str) -> int | None:
    """In the payment's currency; where Stripe settles in another, it tells no such fee."""
    if made is None or made.currency != currency:
        return None
    return from_stripe(made.fee, currency)


# Events

#: What is worth reading a payment for.
EVENTS = [
    "payment_intent.amount_capturable_updated",
    "payment_intent.canceled",
    "payment_intent.payment_failed",
    "payment_intent.processing",
    "payment_intent.requires_action",
    "payment_intent.succeeded",
    "charge.captured",
    "charge.refunded",
    "charge.refund.updated",
    "refund.created",
    "refund.failed",
    "refund.updated",
    "charge.dispute.created",
    "charge.dispute.updated",
    "charge.dispute.closed",
]


def gateway_event(event: stripe.Event) -> GatewayEvent | None:
    """Whose payment an event is about; None for none."""
    about: Any = event.data.object
    kind = getattr(about, "object", None)
    if kind == "payment_intent":
        reference = about.id
    elif kind in ("charge", "refund", "dispute"):
        reference = id_of(getattr(about, "payment_intent", None))
    else:
        return None
    return None if reference is None else GatewayEvent(event.id, event.type, reference)
