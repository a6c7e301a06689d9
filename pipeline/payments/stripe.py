"""Stripe, by its official library: card payments, authorized and then captured.

Our key goes with every operation twice: as Stripe's idempotency key, under which it repeats its
answer for a day, and as metadata, by which `find` and `book` know the operation for ever.

What isn't ours stays out: payments of the same Stripe account without our metadata are not listed.
"""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, TypedDict, TypeVar

import httpx
import stripe

from pipeline.errors import GatewayAway
from pipeline.payments import stripe_words as words
from pipeline.payments.amounts import to_stripe
from pipeline.payments.gateway import (
    KEY_TAKEN,
    Answer,
    BookEntry,
    Call,
    Declined,
    GatewayEvent,
    InvalidEvent,
    Payment,
    Refused,
    Unknown,
)

#: A charge happens within these or, as far as we may ever assume, not at all: the undo of a
#: payment believes that nobody can still be charging after 90 seconds (`latest_charge`): in the
#: first 60 a call is begun, and one of ours changes something in its first 30 or not at all.
TIMEOUT = httpx.Timeout(20.0, connect=5.0, pool=5.0)
PAGE = 100

#: How far Stripe's clock may be behind the database's.
CLOCK_SLACK = timedelta(minutes=5)
#: Seconds that looking through Stripe's list for one payment may take.
PATIENCE = 20.0
#: How long after it was asked for an operation that failed can be taken to have left nothing.
SETTLED = timedelta(minutes=1)
#: How often a failure that Stripe saved under our key is got round by another: when these are used
#: up, the operation is stuck for the day that Stripe keeps them.
RENEWALS = 5
#: Seconds in which another key is tried: it, too, must be through in 30.
RENEWED_WITHIN = 10.0
#: After which an authorization can't be captured any more: Stripe gives it up after seven days.
AUTHORIZATION_LIFE = timedelta(days=8)

#: What answers that are none provoke when they are read.
_GARBAGE = (AttributeError, KeyError, TypeError, ValueError)
_FIRST = datetime.min.replace(tzinfo=UTC)
T = TypeVar("T")


class StripeGateway:
    """Stripe as a `Gateway`, for the account of the secret `key`.

    `webhook_secret` is that of the endpoint which receives its events; `return_url` is where
    customers come back to from 3-D Secure; `base` is another server than Stripe's, for tests.
    """

    name = "stripe"

    def __init__(
        self,
        key: str,
        webhook_secret: str = "",
        *,
        return_url: str = "",
        base: str | None = None,
        timeout: httpx.Timeout = TIMEOUT,
    ) -> None:
        stripe.enable_telemetry = False
        # It logs bodies, with client secrets, at DEBUG, and what customers sent at INFO.
        logging.getLogger("stripe").setLevel(logging.WARNING)
        self._client = stripe.StripeClient(
            key,
            http_client=stripe.HTTPXClient(timeout=timeout, allow_sync_methods=True),
            max_network_retries=0,  # whether to ask again is decided where the keys are kept
            base_addresses={"api": base} if base else None,
        )
        self._webhook_secret = webhook_secret
        self._return_url = return_url

    def perform(self, call: Call) -> Answer:
        """As in `Gateway`.

        A failure (5xx) that Stripe saved is repeated under its key for a day, whatever became of
        the operation, and so is what it called invalid. So when it is, and the operation is a minute old and can't be found, it is
        asked for under a key made of the first one: the same for everyone who comes here.
        """
        answer = self._perform(call)
        # Who gives money back is told that it can't be, whoever's fault that is.
        if isinstance(answer, Refused) and call.kind not in ("authorize", "capture"):
            return Declined(answer.code)
        return answer

    def _perform(self, call: Call) -> Answer:
        give_up = time.monotonic() + RENEWED_WITHIN
        for renewal in range(RENEWALS + 1):
            if renewal and time.monotonic() > give_up:
                break
            try:
                return self._ask(call, f"{call.key}.again{renewal}" if renewal else call.key)
            except stripe.IdempotencyError:
                # Asked in other words, as after an upgrade of ours: what did the first come to?
                return self.find(call) or Unknown("stripe knows the key with other parameters")
            except stripe.StripeError as error:
                if not (words.is_saved_failure(error) and _has_settled(call, error)):
                    return words.answer_to(error)
            except _GARBAGE as error:
                return _not_understood(error)
            found = self.find(call)
            if found is not None:
                return found
        return Unknown("stripe repeats failures that it saved")

    def find(self, call: Call) -> Answer | None:
        """As in `Gateway`. An authorization is looked for in Stripe's list of payments since it
        was asked for, which has what was made a moment ago, as its search has not."""
        try:
            return self._look_up(call)
        except stripe.InvalidRequestError as error:
            return None if error.http_status == 404 else Unknown("stripe refuses to look it up")
        except stripe.StripeError as error:
            return words.answer_to(error)
        except _GARBAGE as error:
            return _not_understood(error)

    def read(self, reference: str) -> Payment | None | Unknown:
        try:
            intent = self._intent(reference)
            refunds = list(self._refunds_of(reference)) if intent.amount_received else []
            disputes = list(self._disputes_of(reference)) if _is_disputed(intent) else []
            return words.payment(intent, refunds, disputes)
        except stripe.StripeError as error:
            return None if error.http_status == 404 else Unknown(words.cause(error))
        except _GARBAGE as error:
            return _not_understood(error)

    def book(
        self, since: datetime | None = None, until: datetime | None = None
    ) -> Iterator[BookEntry]:
        """As in `Gateway`. It is sorted here, so all of it is in memory: ask for days, not years."""
        entries = _read_whole(self._entries(since, until))
        return iter(sorted(entries, key=lambda entry: entry.at or _FIRST))

    def verify(self, payload: bytes, headers: Mapping[str, str]) -> GatewayEvent | None:
        """As in `Gateway`; an event is old after five minutes."""
        if not self._webhook_secret:
            raise InvalidEvent(
                "stripe's events can't be verified; set ORDERMILL_STRIPE_WEBHOOK_SECRET"
            )
        signature = {name.lower(): value for name, value in headers.items()}.get("stripe-signature")
        try:
            event = self._client.construct_event(payload, signature, self._webhook_secret)
            return words.gateway_event(event)
        except stripe.SignatureVerificationError as error:
            raise InvalidEvent(f"this is no event of stripe: {error.user_message}") from None
        except _GARBAGE as error:
            raise InvalidEvent(
                f"this is no event of stripe: its body can't be read ({type(error).__name__})"
            ) from None

    def events(self, since: datetime) -> Iterator[GatewayEvent]:
        """As in `Gateway`, oldest first. Stripe keeps them for thirty days."""
        listed = _read_whole(self._listed_events(since))
        told = (words.gateway_event(event) for event in sorted(listed, key=lambda e: e.created))
        return (event for event in told if event is not None)

    # Asking

    def _ask(self, call: Call, idempotency_key: str) -> Answer:
        """Raises StripeError, and anything when Stripe's answer is none."""
        options: stripe.RequestOptions = {"idempotency_key": idempotency_key}
        try:
            amount = to_stripe(call.amount, call.currency)
        except ValueError:
            return Refused("amount_not_payable")
        if call.kind == "authorize":
            return self._authorize(call, amount, options)
        if call.kind == "dispute":
            return Declined("not_ours_to_ask")
        if not call.parent:
            return Declined("authorization_not_found")
        if call.kind == "refund":
            return self._refund(call, call.parent, amount, options)
        return self._end(call, call.parent, amount, options)

    def _authorize(self, call: Call, amount: int, options: stripe.RequestOptions) -> Answer:
        if not call.method:
            return Declined("no_payment_method")
        params: stripe.params.PaymentIntentCreateParams = {
            "amount": amount,
            "currency": call.currency.lower(),
            "payment_method": call.method,
            "allowed_payment_method_types": ["card"],
            "capture_method": "manual",
            "confirm": True,
            "metadata": _notes(call),
            "expand": ["latest_charge"],
        }
        if self._return_url:
            params["return_url"] = self._return_url
        intent = self._client.v1.payment_intents.create(params, options)
        if words.was_replayed(intent):  # what it was then; the customer may have acted meanwhile
            intent = self._intent(intent.id)
        return words.authorization(intent)

    def _end(self, call: Call, parent: str, amount: int, options: stripe.RequestOptions) -> Answer:
        """Capture or void. Refused, it may be because it was done: then that is the answer."""
        intents = self._client.v1.payment_intents
        try:
            if call.kind == "void":
                intent = intents.cancel(parent, options=options)
            else:
                intent = intents.capture(parent, {"amount_to_capture": amount}, options)
        except stripe.InvalidRequestError as error:
            if error.http_status == 404:
                return Declined("authorization_not_found")
            ended = words.ended(call, self._intent(parent))
            if ended is None:
                raise
            return ended
        return words.ended(call, intent) or Unknown(f"stripe says the payment {intent.status}")

    def _refund(
        self, call: Call, parent: str, amount: int, options: stripe.RequestOptions
    ) -> Answer:
        return words.refund(
            self._client.v1.refunds.create(
                {"payment_intent": parent, "amount": amount, "metadata": _notes(call)}, options
            )
        )

    # Looking up

    def _look_up(self, call: Call) -> Answer | None:
        if call.kind == "authorize":
            return self._look_for_authorization(call)
        if call.kind == "dispute" or not call.parent:
            return None
        if call.kind == "refund":
            made = next((r for r in self._refunds_of(call.parent) if _is_its(call, r)), None)
            return None if made is None else _if_same(call, made, words.refund(made))
        return words.ended(call, self._intent(call.parent))

    def _look_for_authorization(self, call: Call) -> Answer | None:
        give_up = time.monotonic() + PATIENCE
        since = call.asked_at - CLOCK_SLACK if call.asked_at else None
        for intent in self._intents(since, None, "data.latest_charge"):
            if _is_its(call, intent):
                return _if_same(call, intent, words.authorization(intent))
            if time.monotonic() > give_up:
                return Unknown("stripe has too many payments to look for one so old")
        return None

    def _intent(self, reference: str) -> stripe.PaymentIntent:
        return self._client.v1.payment_intents.retrieve(reference, {"expand": ["latest_charge"]})

    def _intents(
        self, since: datetime | None, until: datetime | None, *expand: str
    ) -> Iterator[stripe.PaymentIntent]:
        params: stripe.params.PaymentIntentListParams = {
            "limit": PAGE,
            "created": _created(since, until),
            "expand": list(expand),
        }
        return self._client.v1.payment_intents.list(params).auto_paging_iter()

    def _refunds_of(self, parent: str) -> Iterator[stripe.Refund]:
        return self._client.v1.refunds.list(
            {"payment_intent": parent, "limit": PAGE}
        ).auto_paging_iter()

    def _disputes_of(self, parent: str) -> Iterator[stripe.Dispute]:
        return self._client.v1.disputes.list(
            {"payment_intent": parent, "limit": PAGE}
        ).auto_paging_iter()

    # Listing

    def _entries(self, since: datetime | None, until: datetime | None) -> Iterator[BookEntry]:
        for entry in self._all_entries(since, until):
            at = entry.at
            if at is None or ((since is None or at >= since) and (until is None or at < until)):
                yield entry

    def _all_entries(self, since: datetime | None, until: datetime | None) -> Iterator[BookEntry]:
        authorized_since = since - AUTHORIZATION_LIFE if since else None
        expand = "data.latest_charge.balance_transaction"
        for intent in self._intents(authorized_since, until, expand):
            yield from words.intent_entries(intent)
        window = _created(since, until)
        refunds = self._client.v1.refunds.list(
            {"limit": PAGE, "created": window, "expand": ["data.payment_intent"]}
        )
        for made in refunds.auto_paging_iter():
            if made.status not in ("failed", "canceled"):
                yield from words.reversal_entries("refund", made)
        disputes = self._client.v1.disputes.list(
            {"limit": PAGE, "created": window, "expand": ["data.payment_intent"]}
        )
        for dispute in disputes.auto_paging_iter():
            if words.is_lost(dispute):
                yield from words.reversal_entries("dispute", dispute)

    def _listed_events(self, since: datetime) -> Iterator[stripe.Event]:
        yield from self._client.v1.events.list(
            {"limit": PAGE, "created": _created(since, None), "types": words.EVENTS}
        ).auto_paging_iter()


class _Window(TypedDict, total=False):
    gte: int
    lt: int


def _created(since: datetime | None, until: datetime | None) -> Any:
    """Whole seconds that hold [since, until). The same for every list, typed by each for itself."""
    window: _Window = {}
    if since is not None:
        window["gte"] = math.floor(since.timestamp())
    if until is not None:
        window["lt"] = math.ceil(until.timestamp())
    return window


def _notes(call: Call) -> dict[str, str]:
    """The metadata by which an operation is ours."""
    order = {} if call.order_id is None else {"order": str(call.order_id)}
    return {"key": call.key, **order}


def _is_its(call: Call, made: stripe.PaymentIntent | stripe.Refund) -> bool:
    return words.note(made, "key") == call.key


def _if_same(call: Call, made: stripe.PaymentIntent | stripe.Refund, answer: Answer) -> Answer:
    """`answer`, if what was made under the call's key is what the call asks for."""
    same = made.amount == to_stripe(call.amount, call.currency)
    if same and made.currency.upper() == call.currency:
        return answer
    return KEY_TAKEN


def _is_disputed(intent: stripe.PaymentIntent) -> bool:
    return bool(getattr(intent.latest_charge, "disputed", False))


def _has_settled(call: Call, failure: stripe.StripeError) -> bool:
    """By Stripe's clock: this host's may be an hour ahead, and a second key would charge twice."""
    at = words.answered_at(failure)
    return at is not None and call.asked_at is not None and at - call.asked_at > SETTLED


def _not_understood(error: Exception) -> Unknown:
    return Unknown(f"stripe's answer can't be understood ({type(error).__name__})")


def _read_whole(listed: Iterable[T]) -> list[T]:
    try:
        return list(listed)
    except stripe.StripeError as error:
        raise GatewayAway(f"stripe's list can't be read: {words.cause(error)}") from None
    except _GARBAGE as error:
        raise GatewayAway(f"stripe's list can't be understood ({type(error).__name__})") from None
