"""Stripe when it fails: whatever gets lost on the way, one key is one charge in its own list.

And what is Stripe's alone: units, keys that outlive their memory, secrets that must not get out.
What it has in common with other gateways is in test_conformance.py.
"""

from __future__ import annotations

import logging
import socket
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any, get_args

import httpx
import pytest
import stripe

from pipeline.errors import GatewayAway
from pipeline.payments import stripe as adapter
from pipeline.payments import stripe_words as words
from pipeline.payments.gateway import (
    Answer,
    BookEntry,
    Call,
    Declined,
    GatewayEvent,
    InvalidEvent,
    Kind,
    Payment,
    Refused,
    RequiresAction,
    Succeeded,
    Unavailable,
    Unknown,
    capture_key,
    void_key,
)
from pipeline.payments.stripe import StripeGateway
from tests.payments.faulty_proxy import RETRY_AFTER, Fault, FaultyProxy
from tests.payments.houses import SECRET, STRIPE_KEY, StripeHouse

KEY = "5f3c9be2f6a54d0d8b8f0a1c2d3e4f50"
LONG_AGO = timedelta(hours=2)


@pytest.fixture
def house(proxy: FaultyProxy) -> StripeHouse:
    return StripeHouse(proxy)


@pytest.fixture
def gateway(house: StripeHouse) -> StripeGateway:
    return house.gateway


class Server:
    """localstripe's own lists, past the adapter and the proxy."""

    def __init__(self, url: str) -> None:
        headers = {"Authorization": f"Bearer {STRIPE_KEY}"}
        self._client = httpx.Client(base_url=url, headers=headers)

    def listed(self, name: str) -> list[dict[str, Any]]:
        data: list[dict[str, Any]] = self._client.get(f"/v1/{name}?limit=1000").json()["data"]
        return data

    def count(self, kind: Kind) -> int:
        """How many operations of that kind have happened there."""
        intents = self.listed("payment_intents")
        if kind == "refund":
            return sum(refund["payment_intent"] is not None for refund in self.listed("refunds"))
        status = {"capture": ["succeeded"], "void": ["canceled"]}.get(kind)
        return sum(status is None or intent["status"] in status for intent in intents)

    def create(self, path: str, **fields: Any) -> dict[str, Any]:
        data: dict[str, Any] = self._client.post(path, data=fields).json()
        return data


@pytest.fixture
def server(localstripe_url: str, proxy: FaultyProxy) -> Server:
    return Server(localstripe_url)


def authorize(
    amount: int = 5950, currency: str = "EUR", method: str = "pm_card_visa", **more: Any
) -> Call:
    fields = {"key": KEY, "order_id": 1001, "asked_at": datetime.now(UTC), **more}
    return Call("authorize", amount=amount, currency=currency, method=method, **fields)


def reference(answer: Answer | None) -> str:
    assert isinstance(answer, Succeeded | RequiresAction), answer
    return answer.reference


def call_of(kind: Kind, gateway: StripeGateway, asked_at: datetime | None = None) -> Call:
    """A call of that kind that can succeed, all that must come before it done."""
    asked = authorize(asked_at=asked_at or datetime.now(UTC))
    if kind == "authorize":
        return asked
    parent = reference(gateway.perform(asked))
    follow_ups: dict[Kind, tuple[str, int]] = {
        "capture": (capture_key(KEY), 5950),
        "void": (void_key(KEY), 5950),
        "refund": ("a-refund", 950),
    }
    if kind == "refund":
        capture = Call("capture", capture_key(KEY), 5950, "EUR", parent=parent)
        reference(gateway.perform(capture))
    key, amount = follow_ups[kind]
    return Call(kind, key, amount, "EUR", parent=parent, order_id=1001, asked_at=asked.asked_at)


def make_sure(gateway: StripeGateway, call: Call) -> Answer:
    """What the pay stage does about an operation in doubt: look it up, then ask under its key."""
    return gateway.find(call) or gateway.perform(call)


# Faults

KINDS: list[Kind] = ["authorize", "capture", "void", "refund"]
UNDONE: dict[Fault, type] = {
    "error": Unknown,
    "saved_error": Unknown,
    "unavailable": Unknown,
    "rate_limited": Unavailable,
    "reset": Unknown,
}
DONE: list[Fault] = ["swallow", "garbage", "nonsense", "error_after", "saved_error_after"]
HANGS: list[Fault] = ["hang", "hang_before"]


def test_every_fault_is_tried() -> None:
    assert {*UNDONE, *DONE, *HANGS} == set(get_args(Fault))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("fault", [*UNDONE, *DONE])
def test_after_any_fault_there_is_one_effect(
    proxy: FaultyProxy, gateway: StripeGateway, server: Server, kind: Kind, fault: Fault
) -> None:
    """An answer that can't be trusted is unknown; asked about and again, it has happened once."""
    call = call_of(kind, gateway, asked_at=datetime.now(UTC) - LONG_AGO)
    proxy.fault(fault)

    first = gateway.perform(call)
    done_at_first = server.count(kind)
    settled = make_sure(gateway, call)

    assert type(first) is UNDONE.get(fault, Unknown)
    assert done_at_first == (0 if fault in UNDONE else 1)
    assert isinstance(settled, Succeeded), settled
    assert make_sure(gateway, call) == settled == gateway.perform(call)
    assert server.count(kind) == 1


@pytest.mark.parametrize("kind", ["authorize", "refund"])
@pytest.mark.parametrize("fault", HANGS)
def test_after_a_time_out_another_worker_settles_it(
    proxy: FaultyProxy, gateway: StripeGateway, server: Server, kind: Kind, fault: Fault
) -> None:
    call = call_of(kind, gateway)
    impatient = StripeGateway(STRIPE_KEY, base=proxy.url, timeout=httpx.Timeout(0.3))
    proxy.fault(fault)

    assert impatient.perform(call) == Unknown("stripe gave no answer: ReadTimeout")

    assert isinstance(make_sure(gateway, call), Succeeded)
    assert server.count(kind) == 1


@pytest.mark.parametrize("kind", KINDS)
def test_what_was_done_is_found_when_stripe_has_forgotten_the_key(
    proxy: FaultyProxy, gateway: StripeGateway, server: Server, kind: Kind
) -> None:
    """After a day a key is as good as new to Stripe: the metadata is not."""
    call = call_of(kind, gateway, asked_at=datetime.now(UTC) - timedelta(days=2))
    proxy.fault("swallow")
    gateway.perform(call)

    proxy.forget_keys()

    assert isinstance(make_sure(gateway, call), Succeeded)
    assert server.count(kind) == 1


def test_fault_after_fault_there_is_one_charge(
    proxy: FaultyProxy, gateway: StripeGateway, server: Server
) -> None:
    """Several 500s in a row, some saved, then an answer that is swallowed."""
    call = authorize(asked_at=datetime.now(UTC) - LONG_AGO)
    proxy.fault("error", "saved_error", "saved_error", "swallow")

    answers = [make_sure(gateway, call) for _ in range(5)]

    assert isinstance(answers[-1], Succeeded)
    assert len(server.listed("payment_intents")) == 1


def test_a_saved_failure_is_not_got_round_before_it_has_settled(
    proxy: FaultyProxy, gateway: StripeGateway, server: Server
) -> None:
    """What failed a moment ago may yet come into Stripe's list: its key is asked, and no other."""
    call = authorize()
    proxy.fault("saved_error")

    answers = [make_sure(gateway, call) for _ in range(3)]

    assert answers == [Unknown("stripe answered 500")] * 3
    assert {seen.idempotency_key for seen in proxy.seen if seen.method == "POST"} == {KEY}
    assert server.listed("payment_intents") == []


def test_a_host_whose_clock_is_an_hour_ahead_gets_round_nothing_either(
    proxy: FaultyProxy, gateway: StripeGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Ahead(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> datetime:
            return datetime.now(tz) + timedelta(hours=1)

    call = authorize()
    monkeypatch.setattr(adapter, "datetime", Ahead)
    proxy.fault("saved_error")

    answers = [make_sure(gateway, call) for _ in range(3)]

    assert answers == [Unknown("stripe answered 500")] * 3
    assert {seen.idempotency_key for seen in proxy.seen if seen.method == "POST"} == {KEY}


def test_failures_that_are_saved_under_every_key_stay_unknown(
    proxy: FaultyProxy, gateway: StripeGateway, server: Server
) -> None:
    call = authorize(asked_at=datetime.now(UTC) - LONG_AGO)
    proxy.fault(*["saved_error"] * 30)

    answers = [make_sure(gateway, call) for _ in range(adapter.RENEWALS + 2)]

    assert {type(answer) for answer in answers} == {Unknown}
    assert answers[-1] == Unknown("stripe repeats failures that it saved")
    assert server.listed("payment_intents") == []


def test_after_a_while_no_other_key_is_tried_as_nobody_waits_so_long(
    proxy: FaultyProxy, gateway: StripeGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(adapter, "RENEWED_WITHIN", 0.0)
    call = authorize(asked_at=datetime.now(UTC) - LONG_AGO)
    proxy.fault("saved_error")

    answers = [make_sure(gateway, call) for _ in range(3)]

    assert answers[-1] == Unknown("stripe repeats failures that it saved")
    assert {seen.idempotency_key for seen in proxy.seen if seen.method == "POST"} == {KEY}


@pytest.mark.parametrize("noted", ["9" * 19, "-1", "1e3", "number one", ""])
def test_what_a_stranger_notes_as_his_order_is_none_of_ours(noted: str) -> None:
    intent = stripe.PaymentIntent.construct_from(
        {
            "id": "pi_1", "amount": 100, "amount_received": 0, "currency": "eur",
            "status": "requires_capture", "next_action": None,
            "metadata": {"order": noted, "key": "theirs"},
        },
        STRIPE_KEY,
    )  # fmt: skip

    assert words.payment(intent, [], []).order_id is None


def test_threads_that_race_on_a_key_charge_once(gateway: StripeGateway, server: Server) -> None:
    """Who comes while another's request is under way is told nothing, and finds it later."""
    with ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(gateway.perform, [authorize()] * 8))

    assert {type(answer) for answer in answers} <= {Succeeded, Unknown}
    assert isinstance(make_sure(gateway, authorize()), Succeeded)
    assert len(server.listed("payment_intents")) == 1


def test_a_key_known_with_other_parameters_is_looked_up_and_otherwise_unknown(
    proxy: FaultyProxy, gateway: StripeGateway
) -> None:
    """As after an upgrade that asks in other words: never a decline, as it may be charged."""
    upgraded = StripeGateway(STRIPE_KEY, base=proxy.url, return_url="https://shop.example/back")
    proxy.fault("saved_error")
    gateway.perform(authorize())

    assert isinstance(upgraded.perform(authorize()), Unknown)
    done = gateway.perform(authorize(key="another-key"))
    assert upgraded.perform(authorize(key="another-key")) == done


# Refusals


def test_a_rate_limit_says_when_to_come_back(proxy: FaultyProxy, gateway: StripeGateway) -> None:
    proxy.fault("rate_limited")

    assert gateway.perform(authorize()) == Unavailable("stripe answered 429", RETRY_AFTER)


@pytest.fixture
def nobody() -> str:
    """A URL at which nobody listens."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    return f"http://127.0.0.1:{port}"


def test_a_connection_refused_has_certainly_done_nothing(nobody: str) -> None:
    away = StripeGateway(STRIPE_KEY, base=nobody)

    refused = Unavailable("stripe could not be reached: ConnectError")
    assert away.perform(authorize()) == refused
    assert away.find(authorize()) == refused
    assert isinstance(away.read("pi_1"), Unknown)


def test_lists_that_can_not_be_read_are_not_half_read(nobody: str) -> None:
    away = StripeGateway(STRIPE_KEY, base=nobody)

    with pytest.raises(GatewayAway, match="ConnectError"):
        away.book()
    with pytest.raises(GatewayAway, match="ConnectError"):
        away.events(datetime.now(UTC))


def test_a_wrong_key_is_the_deployers_fault_and_no_orders(proxy: FaultyProxy) -> None:
    """No order is declined for it: they wait until it is mended."""
    stranger = StripeGateway("no_key_of_stripe", base=proxy.url)

    assert stranger.perform(authorize()) == Unavailable("stripe refuses our key (401)")


def test_a_decline_tells_stripes_code(gateway: StripeGateway) -> None:
    answer = gateway.perform(authorize(method="pm_card_chargeCustomerFail"))

    assert answer == Declined("card_declined")


def test_a_method_that_does_not_exist_is_no_decline(gateway: StripeGateway, server: Server) -> None:
    """No bank has said no: whoever sent the order sent a wrong method."""
    assert isinstance(gateway.perform(authorize(method="pm_of_another_shop")), Refused)
    assert gateway.perform(authorize(method="")) == Declined("no_payment_method")
    assert server.listed("payment_intents") == []


@pytest.mark.parametrize(
    ("kind", "answer"),
    [
        ("authorize", Refused("parameter_invalid_integer")),
        ("capture", Refused("parameter_invalid_integer")),
        ("void", Declined("parameter_invalid_integer")),
        ("refund", Declined("parameter_invalid_integer")),
    ],
)
def test_what_stripe_calls_invalid_is_no_decline_of_the_customers_card(
    proxy: FaultyProxy, gateway: StripeGateway, kind: Kind, answer: Answer
) -> None:
    call = call_of(kind, gateway)
    proxy.refuses = dict.fromkeys(
        ("payment_intents", "capture", "cancel", "refunds"), "parameter_invalid_integer"
    )

    assert gateway.perform(call) == answer
    assert gateway.find(call) is None


@pytest.mark.parametrize("kind", KINDS)
def test_what_stripe_called_invalid_and_saved_is_asked_again_under_another_key(
    proxy: FaultyProxy, gateway: StripeGateway, server: Server, kind: Kind
) -> None:
    """Once its cause is gone, and not before a minute: nothing was done under the first."""
    call = call_of(kind, gateway, asked_at=datetime.now(UTC) - LONG_AGO)
    proxy.saves_refusals = True
    proxy.refuses = dict.fromkeys(("payment_intents", "capture", "cancel", "refunds"), "no_such")
    refused = gateway.perform(call)

    proxy.refuses = {}

    assert refused in (Refused("no_such"), Declined("no_such"))
    assert isinstance(make_sure(gateway, call), Succeeded)
    assert server.count(kind) == 1


# What is sent


def test_a_payment_is_asked_for_as_one_of_ours(proxy: FaultyProxy, gateway: StripeGateway) -> None:
    """By card, to be captured later, confirmed at once, with our key twice and the order's id."""
    gateway.perform(authorize())

    (seen,) = proxy.seen
    assert seen.idempotency_key == KEY
    assert dict(seen.params) == {
        "allowed_payment_method_types[0]": "card",
        "amount": "5950",
        "capture_method": "manual",
        "confirm": "true",
        "currency": "eur",
        "expand[0]": "latest_charge",
        "metadata[key]": KEY,
        "metadata[order]": "1001",
        "payment_method": "pm_card_visa",
    }


@pytest.mark.parametrize(
    ("currency", "ours", "theirs"),
    [
        ("JPY", 595, 595),
        ("KWD", 5950, 5950),
        ("BHD", 10, 10),
        ("ISK", 595, 59500),
        ("UGX", 7, 700),
        ("MGA", 500, 5),
    ],
)
def test_amounts_are_in_stripes_units_there_and_in_ours_here(
    house: StripeHouse, server: Server, currency: str, ours: int, theirs: int
) -> None:
    """Stripe counts kronur and shillings in hundredths, and ariary whole: ISO 4217 doesn't."""
    gateway = house.gateway
    its = reference(gateway.perform(authorize(ours, currency)))
    gateway.perform(Call("capture", capture_key(KEY), ours, currency, parent=its))
    gateway.perform(Call("refund", "a-refund", ours, currency, parent=its))

    (intent,) = server.listed("payment_intents")
    payment = gateway.read(its)

    assert (intent["amount"], intent["currency"]) == (theirs, currency.lower())
    assert isinstance(payment, Payment)
    assert (payment.amount, payment.captured, payment.currency) == (ours, ours, currency)
    assert [r.amount for r in payment.reversals] == [ours]
    assert [(e.amount, e.currency) for e in gateway.book()] == [(ours, currency)] * 3
    assert gateway.find(authorize(ours, currency)) == Succeeded(its)


@pytest.mark.parametrize(("amount", "currency"), [(550, "MGA"), (1062, "KWD")])
def test_what_stripe_takes_no_fractions_of_is_never_sent(
    proxy: FaultyProxy, gateway: StripeGateway, amount: int, currency: str
) -> None:
    assert gateway.perform(authorize(amount, currency)) == Refused("amount_not_payable")
    assert proxy.seen == []


@pytest.mark.parametrize(
    ("amount", "currency", "code"),
    [(100_000_000, "EUR", "amount_too_large"), (49, "EUR", "amount_too_small")],
)
def test_what_is_beyond_stripes_bounds_is_no_decline(
    gateway: StripeGateway, amount: int, currency: str, code: str
) -> None:
    assert gateway.perform(authorize(amount, currency)) == Refused(code)


# Looking up and listing


def test_a_payment_is_looked_for_on_every_page(
    proxy: FaultyProxy, gateway: StripeGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Since it was asked for, less what the clocks may differ by."""
    monkeypatch.setattr(adapter, "PAGE", 2)
    asked = authorize()
    first = gateway.perform(asked)
    for n in range(4):
        gateway.perform(authorize(key=f"another-{n}"))
    proxy.seen.clear()

    assert gateway.find(asked) == first

    assert asked.asked_at is not None
    since = int((asked.asked_at - timedelta(minutes=5)).timestamp())
    pages = [dict(seen.params) for seen in proxy.seen]
    assert [page["created[gte]"] for page in pages] == [str(since)] * 3


def test_looking_takes_an_end(gateway: StripeGateway, monkeypatch: pytest.MonkeyPatch) -> None:
    """Where there are too many payments, what became of one is unknown; not nothing."""
    monkeypatch.setattr(adapter, "PATIENCE", -1.0)
    gateway.perform(authorize(key="another-key"))

    assert isinstance(gateway.find(authorize()), Unknown)


def test_payments_of_others_in_the_account_are_not_ours(
    gateway: StripeGateway, server: Server, house: StripeHouse
) -> None:
    """They are read as anybody's and listed nowhere, nor are their refunds."""
    paid = server.create(
        "/v1/payment_intents",
        amount=100, currency="eur", payment_method="pm_card_visa", confirm="true",
    )  # fmt: skip
    server.create("/v1/refunds", payment_intent=paid["id"], amount=50)

    payment = gateway.read(paid["id"])

    assert list(gateway.book()) == []
    assert isinstance(payment, Payment)
    assert (payment.key, payment.order_id) == (None, None)


def test_a_capture_is_listed_when_it_was_made_not_when_it_was_authorized(
    gateway: StripeGateway, server: Server
) -> None:
    """Captures may come a week after: an authorization is looked at although it is older."""
    its = reference(gateway.perform(authorize()))
    time.sleep(1.1)
    captured_after = datetime.now(UTC).replace(microsecond=0)
    gateway.perform(Call("capture", capture_key(KEY), 5950, "EUR", parent=its))

    listed: Callable[..., list[BookEntry]] = lambda **window: list(gateway.book(**window))  # noqa: E731

    assert [entry.kind for entry in listed(since=captured_after)] == ["capture"]
    assert [entry.kind for entry in listed(until=captured_after)] == ["authorize"]


def test_a_refund_that_failed_is_told_and_not_listed(
    gateway: StripeGateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Banks may send refunds back, days after Stripe took them."""
    its = reference(gateway.perform(authorize()))
    gateway.perform(Call("capture", capture_key(KEY), 5950, "EUR", parent=its))
    call = Call("refund", "a-refund", 950, "EUR", parent=its)
    gateway.perform(call)
    _answer_refunds_with(monkeypatch, status="failed", failure_reason="expired_or_canceled_card")

    payment = gateway.read(its)

    assert isinstance(payment, Payment)
    assert [(r.key, r.state) for r in payment.reversals] == [("a-refund", "failed")]
    assert gateway.find(call) == Declined("expired_or_canceled_card")
    assert [entry.kind for entry in gateway.book()] == ["authorize", "capture"]


@pytest.mark.parametrize("status", ["pending", "requires_action"])
def test_a_refund_under_way_is_open(
    gateway: StripeGateway, monkeypatch: pytest.MonkeyPatch, status: str
) -> None:
    its = reference(gateway.perform(authorize()))
    gateway.perform(Call("capture", capture_key(KEY), 5950, "EUR", parent=its))
    gateway.perform(Call("refund", "a-refund", 950, "EUR", parent=its))
    _answer_refunds_with(monkeypatch, status=status)

    payment = gateway.read(its)

    assert isinstance(payment, Payment)
    assert [r.state for r in payment.reversals] == ["open"]


def _answer_refunds_with(monkeypatch: pytest.MonkeyPatch, **fields: str) -> None:
    dress = FaultyProxy._dress

    def dressed(proxy: FaultyProxy, data: Any) -> Any:
        told = dress(proxy, data)
        if isinstance(told, dict) and told.get("object") == "refund":
            told |= fields
        return told

    monkeypatch.setattr(FaultyProxy, "_dress", dressed)


# Events


def test_an_event_that_stripe_sends_is_believed(
    proxy: FaultyProxy, gateway: StripeGateway, localstripe_url: str
) -> None:
    """Signed by the server itself, and the same that its list has."""
    hook = {"url": f"{proxy.url}/hook", "secret": SECRET}
    httpx.post(f"{localstripe_url}/_config/webhooks/ours", json=hook).raise_for_status()
    its = reference(gateway.perform(authorize()))
    gateway.perform(Call("capture", capture_key(KEY), 5950, "EUR", parent=its))

    body, headers = _wait_for(
        lambda: next((hook for hook in proxy.hooked if its.encode() in hook[0]), None)
    )

    event = gateway.verify(body, headers)
    assert event is not None
    assert (event.type, event.reference) == ("payment_intent.succeeded", its)
    assert list(gateway.events(datetime.now(UTC) - LONG_AGO)) == [event]


def _wait_for(get: Callable[[], Any]) -> Any:
    give_up = time.monotonic() + 20
    while (got := get()) is None:
        assert time.monotonic() < give_up
        time.sleep(0.02)
    return got


def _sign(about: str) -> tuple[bytes, dict[str, str]]:
    from stripe import WebhookSignature

    body = f'{{"id": "evt_1", "object": "event", "type": "any", "data": {{"object": {about}}}}}'
    signature = WebhookSignature.generate_signature_header(body, SECRET)
    return body.encode(), {"stripe-signature": signature}


@pytest.mark.parametrize(
    "about",
    [
        '{"object": "charge", "id": "ch_1", "payment_intent": "pi_1"}',
        '{"object": "refund", "id": "re_1", "payment_intent": "pi_1"}',
        '{"object": "dispute", "id": "dp_1", "payment_intent": {"id": "pi_1", "object": "payment_intent"}}',
    ],
)
def test_an_event_about_a_part_of_a_payment_names_the_payment(
    gateway: StripeGateway, about: str
) -> None:
    assert gateway.verify(*_sign(about)) == GatewayEvent("evt_1", "any", "pi_1")


@pytest.mark.parametrize(
    "about", ['{"object": "payout", "id": "po_1"}', '{"object": "charge", "id": "ch_1"}', "{}"]
)
def test_an_event_about_no_payment_is_none(gateway: StripeGateway, about: str) -> None:
    assert gateway.verify(*_sign(about)) is None


def test_without_the_endpoints_secret_no_event_is_believed(proxy: FaultyProxy) -> None:
    deaf = StripeGateway(STRIPE_KEY, base=proxy.url)

    with pytest.raises(InvalidEvent, match="ORDERMILL_STRIPE_WEBHOOK_SECRET"):
        deaf.verify(*_sign('{"object": "payout"}'))


# Secrets


def test_no_secret_gets_into_a_log_an_answer_or_an_error(
    proxy: FaultyProxy, house: StripeHouse, nobody: str, caplog: pytest.LogCaptureFixture
) -> None:
    """Neither our key, nor a client's secret, nor what Stripe quotes of a request."""
    gateway = house.gateway
    its = reference(gateway.perform(authorize(method=house.waits)))
    caplog.clear()
    caplog.set_level(logging.DEBUG)
    proxy.fault("saved_error_after", "garbage", "nonsense", "swallow")

    told = [gateway.perform(authorize(key=f"key-{n}")) for n in range(5)]
    told += [gateway.perform(authorize(method="pm_4242424242424242")), gateway.find(authorize())]
    told += [gateway.read(its)]
    with pytest.raises(GatewayAway) as away:
        StripeGateway(STRIPE_KEY, base=nobody).book()
    with pytest.raises(InvalidEvent) as invalid:
        gateway.verify(b'{"client_secret": "pi_1_secret_2"}', {"stripe-signature": "t=1,v1=2"})

    everything = caplog.text + repr(told) + repr(away.value) + repr(invalid.value)
    assert away.value.__cause__ is None
    assert "stripe" in everything
    for secret in (STRIPE_KEY, SECRET, "_secret_", "4242424242424242"):
        assert secret not in everything


def test_where_the_customer_must_go_is_read_and_not_shown() -> None:
    payment = Payment(
        "pi_1",
        KEY,
        1001,
        "requires_action",
        5950,
        "EUR",
        0,
        action_url="https://hooks.stripe.com/x",
    )

    assert payment.action_url == "https://hooks.stripe.com/x"
    assert "hooks" not in repr(payment)


def test_requests_are_neither_repeated_nor_reported_on_by_the_library(
    proxy: FaultyProxy, gateway: StripeGateway
) -> None:
    """Whether to ask again is for who keeps the keys."""
    proxy.fault("error", "reset")

    gateway.perform(authorize())
    gateway.perform(authorize())

    assert Counter(seen.method for seen in proxy.seen) == {"POST": 2}
