"""The sandbox gateway: faults come when asked for, as often as asked for, and are remembered."""

from __future__ import annotations

import json
import signal
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import pytest

from pipeline.errors import ConfigurationError, InvalidInput
from pipeline.payments.gateway import (
    BookEntry,
    Call,
    Declined,
    GatewayEvent,
    InvalidEvent,
    Kind,
    Payment,
    RequiresAction,
    Succeeded,
    Unavailable,
    Unknown,
)
from pipeline.payments.sandbox import SLOW_SECONDS, SandboxFaults, SandboxGateway
from pipeline.payments.sandbox_book import PAGE

ROOT = Path(__file__).parents[2]

#: Opens the same book again, as another process would; in memory there is but the one.
Reopen = Callable[[], SandboxGateway]


@pytest.fixture(params=["memory", "file"])
def reopen(request: pytest.FixtureRequest, tmp_path: Path) -> Reopen:
    in_memory = SandboxGateway(None)
    if request.param == "memory":
        return lambda: in_memory
    return lambda: SandboxGateway(tmp_path / "books" / "sandbox.db")


def authorize(method: str = "pm_card_visa", key: str = "web-1001/authorize") -> Call:
    return Call("authorize", key, 5950, "EUR", method=method)


@pytest.mark.parametrize("method", ["pm_card_visa", "tok_of_another_gateway", None])
def test_a_token_that_asks_for_nothing_is_good(reopen: Reopen, method: str | None) -> None:
    """Any payment method that isn't in the table of faults succeeds."""
    call = Call("authorize", "web-1001/authorize", 5950, "EUR", method=method)

    assert isinstance(reopen().perform(call), Succeeded)


@pytest.mark.parametrize(
    ("method", "code"),
    [
        ("pm_card_declined", "card_declined"),
        ("pm_card_insufficient_funds", "insufficient_funds"),
    ],
)
def test_a_declined_card_stays_declined(reopen: Reopen, method: str, code: str) -> None:
    """A decline is final, and asking again under the key repeats it, whatever the card is now."""
    assert reopen().perform(authorize(method)) == Declined(code)

    assert reopen().perform(authorize("pm_card_visa")) == Declined(code)
    assert reopen().find(authorize()) == Declined(code)
    assert list(reopen().book()) == []


@pytest.mark.parametrize(
    ("method", "first"),
    [
        ("pm_timeout_before", Unknown),
        ("pm_error_500", Unknown),
        ("pm_rate_limited", Unavailable),
    ],
)
def test_a_fault_before_the_work_leaves_nothing_done_and_passes(
    reopen: Reopen, method: str, first: type
) -> None:
    """The first call fails and does nothing; the second under the same key works."""
    assert isinstance(reopen().perform(authorize(method)), first)
    assert reopen().find(authorize(method)) is None

    assert isinstance(reopen().perform(authorize(method)), Succeeded)


def test_a_time_out_after_the_work_has_charged_all_the_same(reopen: Reopen) -> None:
    """The first answer is lost, yet it was done: find sees it, and the key repeats it."""
    assert isinstance(reopen().perform(authorize("pm_timeout_after")), Unknown)

    found = reopen().find(authorize("pm_timeout_after"))

    assert isinstance(found, Succeeded)
    assert reopen().perform(authorize("pm_timeout_after")) == found
    assert len(list(reopen().book())) == 1


def test_a_rate_limit_says_when_to_come_back(reopen: Reopen) -> None:
    """A 429 carries the seconds to wait."""
    answer = reopen().perform(authorize("pm_rate_limited"))

    assert isinstance(answer, Unavailable)
    assert answer.retry_after == 1.0


def test_a_flaky_gateway_works_the_third_time(reopen: Reopen) -> None:
    """The first two calls for a key find the gateway away, then it is back."""
    answers = [reopen().perform(authorize("pm_flaky")) for _ in range(3)]

    assert [type(answer) for answer in answers] == [Unavailable, Unavailable, Succeeded]


def test_a_slow_gateway_takes_its_time(reopen: Reopen, monkeypatch: pytest.MonkeyPatch) -> None:
    """The slow token waits two seconds and succeeds."""
    waits: list[float] = []
    monkeypatch.setattr(time, "sleep", waits.append)

    answer = reopen().perform(authorize("pm_slow"))

    assert isinstance(answer, Succeeded)
    assert waits[-1] == SLOW_SECONDS == 2.0


def test_a_defect_raises_each_time(reopen: Reopen) -> None:
    """The crash token stands for a defect in an adapter: an exception, each time."""
    for _ in range(2):
        with pytest.raises(RuntimeError):
            reopen().perform(authorize("pm_crash"))


def test_a_method_strikes_authorizations_only(reopen: Reopen) -> None:
    """A capture, void or refund isn't bothered by the token of the method that paid."""
    paid = reopen().perform(authorize())
    assert isinstance(paid, Succeeded)
    capture = Call("capture", "c", 5950, "EUR", method="pm_card_declined", parent=paid.reference)

    assert isinstance(reopen().perform(capture), Succeeded)


@pytest.mark.parametrize(
    ("call", "code"),
    [
        (Call("authorize", "zero", 0, "EUR"), "amount_too_small"),
        (Call("capture", "zero", 0, "EUR", parent="sbx_web-1001/authorize"), "amount_too_small"),
        (Call("capture", "back", -100, "EUR", parent="sbx_web-1001/authorize"), "amount_too_small"),
        (
            Call("capture", "dollars", 100, "USD", parent="sbx_web-1001/authorize"),
            "currency_mismatch",
        ),
        (
            Call("capture", "key", 100, "EUR", parent="web-1001/authorize"),
            "authorization_not_found",
        ),
        (Call("authorize", "web-1001/authorize", 5950, "USD"), "idempotency_key_reused"),
    ],
)
def test_what_a_real_gateway_refuses_is_refused(reopen: Reopen, call: Call, code: str) -> None:
    """Amounts below one, another currency, our key in place of its reference: declined."""
    reopen().perform(authorize())

    assert reopen().perform(call) == Declined(code)


def test_rates_are_kept_and_repeat_for_a_seed() -> None:
    """The share of keys struck is the rate asked for, and the same keys are struck again."""
    faults = SandboxFaults(timeout_after=0.1, decline=0.05, rate_limited=0.2, seed=7)
    calls = [authorize(key=f"web-{n}/authorize") for n in range(4_000)]

    one, other = SandboxGateway(None, faults), SandboxGateway(None, faults)
    answers = [one.perform(call) for call in calls]
    shares = {kind: n / len(calls) for kind, n in Counter(map(type, answers)).items()}

    assert answers == [other.perform(call) for call in calls]
    assert shares[Unknown] == pytest.approx(0.1, abs=0.02)
    assert shares[Declined] == pytest.approx(0.05, abs=0.015)
    assert shares[Unavailable] == pytest.approx(0.2, abs=0.025)


def test_another_seed_strikes_other_keys() -> None:
    """The seed decides which keys are struck."""
    calls = [authorize(key=f"web-{n}/authorize") for n in range(200)]
    one = SandboxGateway(None, SandboxFaults(decline=0.5, seed=1))
    other = SandboxGateway(None, SandboxFaults(decline=0.5, seed=2))

    assert [one.perform(call) for call in calls] != [other.perform(call) for call in calls]


def test_a_time_out_by_rate_happens_once_a_key_and_a_decline_for_ever() -> None:
    """Asked again, timed-out keys succeed and declined ones are declined again."""
    times_out = SandboxGateway(None, SandboxFaults(timeout_after=1, decline=0))
    declines = SandboxGateway(None, SandboxFaults(timeout_after=0, decline=1))

    answers = [times_out.perform(authorize()) for _ in range(2)]
    refusals = [declines.perform(authorize()) for _ in range(2)]

    assert [type(answer) for answer in answers] == [Unknown, Succeeded]
    assert refusals == [Declined("card_declined")] * 2


@pytest.mark.parametrize("kind", ["capture", "void", "refund"])
def test_rates_strike_every_kind_but_declines_only_authorizations(kind: Kind) -> None:
    """A capture, void or refund may time out; it is never declined by chance."""
    times_out = SandboxGateway(None, SandboxFaults(timeout_before=1, timeout_after=0, decline=0))
    declines = SandboxGateway(None, SandboxFaults(timeout_after=0, decline=1))
    call = Call(kind, f"web-1001/{kind}", 100, "EUR", parent="sbx_none")

    assert isinstance(times_out.perform(call), Unknown)
    assert declines.perform(call) == Declined("authorization_not_found")


# What happens at the gateway without us


@pytest.fixture
def paid(reopen: Reopen) -> str:
    """The reference of 59.50 EUR, authorized and captured."""
    its = reopen().perform(authorize())
    assert isinstance(its, Succeeded)
    reopen().perform(Call("capture", "c", 5950, "EUR", parent=its.reference))
    return its.reference


@pytest.fixture
def voided(reopen: Reopen) -> str:
    """The reference of an authorization that was given up."""
    its = reopen().perform(authorize())
    assert isinstance(its, Succeeded)
    reopen().perform(Call("void", "v", 5950, "EUR", parent=its.reference))
    return its.reference


def test_money_may_come_late_and_can_go_back(reopen: Reopen, voided: str) -> None:
    """Of what was voided, once: it is its one capture, as at any gateway."""
    late = reopen().pay_late(voided)
    back = reopen().perform(Call("refund", "r", 5950, "EUR", parent=voided))

    payment = reopen().read(voided)
    *_, capture, refund = reopen().book()
    assert isinstance(payment, Payment)
    assert (payment.status, payment.captured) == ("captured", 5950)
    assert isinstance(back, Succeeded)
    assert (capture.kind, capture.key, capture.reference) == (
        "capture", "web-1001/authorize.capture", late,
    )  # fmt: skip
    assert refund.key == "r"
    with pytest.raises(InvalidInput, match="not_voided"):
        reopen().pay_late(voided)


def test_money_that_comes_late_stands_for_the_customer_who_never_acted(reopen: Reopen) -> None:
    """It has been authorized after all, and is listed so."""
    waiting = reopen().perform(authorize("pm_requires_action"))
    assert isinstance(waiting, RequiresAction)
    reopen().perform(Call("void", "v", 5950, "EUR", parent=waiting.reference))

    reopen().pay_late(waiting.reference)

    assert [(entry.kind, entry.key) for entry in reopen().book()] == [
        ("void", "v"),
        ("authorize", "web-1001/authorize"),
        ("capture", "web-1001/authorize.capture"),
    ]


def test_what_is_disputed_can_not_be_refunded_until_it_is_won(reopen: Reopen, paid: str) -> None:
    refund = Call("refund", "r", 1000, "EUR", parent=paid)
    dispute = reopen().dispute(paid, 5000)
    refused = reopen().perform(refund)

    reopen().close_dispute(dispute, won=True)

    assert refused == Declined("charge_disputed")
    again = Call("refund", "r-2", 1000, "EUR", parent=paid)
    assert isinstance(reopen().perform(again), Succeeded)


@pytest.mark.parametrize(
    ("act", "why"),
    [
        (lambda s, paid: s.confirm(paid), "not_waiting"),
        (lambda s, paid: s.fail(paid), "not_waiting"),
        (lambda s, paid: s.pay_late(paid), "not_voided"),
        (lambda s, paid: s.refund_at_gateway(paid, 5951), "amount_too_large"),
        (lambda s, paid: s.refund_at_gateway(paid, 0), "amount_too_small"),
        (lambda s, paid: s.dispute(paid, 5951), "amount_too_large"),
        (lambda s, paid: s.confirm("no-such-reference"), "no payment no-such-reference"),
        (lambda s, paid: s.close_dispute(paid, won=True), "no dispute"),
    ],
)
def test_what_can_not_happen_at_a_gateway_does_not(
    reopen: Reopen, paid: str, act: Callable[[SandboxGateway, str], object], why: str
) -> None:
    before = list(reopen().book())

    with pytest.raises(InvalidInput, match=why):
        act(reopen(), paid)

    assert list(reopen().book()) == before


def test_a_dispute_is_closed_one_way(reopen: Reopen, paid: str) -> None:
    dispute = reopen().dispute(paid, 5950)
    reopen().close_dispute(dispute, won=False)
    reopen().close_dispute(dispute, won=False)

    with pytest.raises(InvalidInput, match="the other way"):
        reopen().close_dispute(dispute, won=True)


def test_an_authorization_is_confirmed_once_and_not_after_it_was_voided(reopen: Reopen) -> None:
    confirmed, given_up = (
        reopen().perform(authorize("pm_requires_action", key=key)).reference  # type: ignore[union-attr]
        for key in ("web-1", "web-2")
    )
    reopen().confirm(confirmed)
    reopen().perform(Call("void", "v", 5950, "EUR", parent=given_up))

    for its in (confirmed, given_up):
        with pytest.raises(InvalidInput, match="not_waiting"):
            reopen().confirm(its)


def test_a_capture_costs_a_fee(reopen: Reopen, paid: str) -> None:
    """0.25 and 1.5 %, rounded down."""
    assert [entry.fee for entry in reopen().book()] == [None, 114]


def test_every_line_of_the_book_is_an_event(reopen: Reopen, paid: str) -> None:
    reopen().refund_at_gateway(paid, 100)
    dispute = reopen().dispute(paid, 200)
    reopen().close_dispute(dispute, won=True)

    events = list(reopen().events(datetime(2000, 1, 1, tzinfo=UTC)))

    assert [event.type for event in events] == [
        "payment.created", "payment.captured", "payment.refunded", "dispute.opened", "dispute.won",
    ]  # fmt: skip
    assert {event.reference for event in events} == {paid}
    assert len({event.id for event in events}) == 5


def test_events_are_signed_for_the_one_who_knows_the_secret() -> None:
    event = GatewayEvent("evt_1", "payment.captured", "sbx_1")
    secret = "whsec_dGVzdHMgYXJlIG5vIHNlY3JldA=="
    one, other = SandboxGateway(None, secret=secret), SandboxGateway(None, secret=secret)

    assert other.verify(*one.sign(event)) == event
    with pytest.raises(InvalidEvent):
        SandboxGateway(None).verify(*one.sign(event))


OLD_BOOK = """
    CREATE TABLE book (
        seq INTEGER PRIMARY KEY, key TEXT NOT NULL UNIQUE, kind TEXT NOT NULL,
        amount INTEGER NOT NULL, currency TEXT NOT NULL, parent TEXT, decline TEXT
    );
    CREATE TABLE attempts (key TEXT PRIMARY KEY, times INTEGER NOT NULL);
    INSERT INTO book (key, kind, amount, currency, parent) VALUES
        ('old', 'authorize', 5950, 'EUR', NULL), ('old/capture', 'capture', 5950, 'EUR', 'sbx_old');
"""


def test_a_book_of_an_older_version_is_kept(tmp_path: Path) -> None:
    """What it knows it knows still, but for the times, and new operations follow on it."""
    with closing(sqlite3.connect(tmp_path / "sandbox.db")) as old:
        old.executescript(OLD_BOOK)

    for _ in range(2):
        gateway = SandboxGateway(tmp_path / "sandbox.db")
    gateway.perform(Call("refund", "r", 950, "EUR", parent="sbx_old"))

    *old_entries, refund = gateway.book()
    assert old_entries == [
        BookEntry("authorize", "old", "sbx_old", 5950, "EUR", "sbx_old"),
        BookEntry("capture", "old/capture", "sbx_old/capture", 5950, "EUR", "sbx_old", fee=114),
    ]
    assert (refund.key, refund.at is not None) == ("r", True)


def test_a_book_is_read_page_by_page(reopen: Reopen, monkeypatch: pytest.MonkeyPatch) -> None:
    """Lines of the same moment too: each once."""
    monkeypatch.setattr(time, "time_ns", lambda: 1_700_000_000_000_000_000)
    gateway = reopen()
    for n in range(2 * PAGE + 1):
        gateway.perform(authorize(key=f"web-{n}/authorize"))

    keys = [entry.key for entry in gateway.book()]

    assert keys == [f"web-{n}/authorize" for n in range(2 * PAGE + 1)]


@pytest.mark.parametrize("rates", [{"slow": -0.1}, {"slow": 0.7, "error_500": 0.7}])
def test_rates_that_make_no_sense_are_refused(rates: dict[str, float]) -> None:
    """Rates are shares: none is negative, together they are one at most."""
    with pytest.raises(ConfigurationError, match="fault rates"):
        SandboxFaults(**rates)  # type: ignore[arg-type]


def test_a_book_that_can_not_be_opened_is_the_deployer_s_to_mend(tmp_path: Path) -> None:
    """A path that holds no database is told at the start, by name."""
    (tmp_path / "sandbox.db").write_text("not a database, but long enough to be looked at " * 20)

    with pytest.raises(ConfigurationError, match=r"sandbox\.db"):
        SandboxGateway(tmp_path / "sandbox.db")


RACER = """
import json, sys
from dataclasses import astuple
from pipeline.payments.gateway import Call
from pipeline.payments.sandbox import SandboxGateway

print("ready", flush=True)
sys.stdin.readline()
gateway = SandboxGateway(sys.argv[1])
answers = [
    astuple(gateway.perform(Call("authorize", f"web-{n}/authorize", 5950, "EUR")))
    for n in range(200)
]
print(json.dumps(answers))
"""


def start(script: str, book: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", script, str(book)],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def test_eight_processes_that_race_on_the_same_keys_leave_one_entry_each(tmp_path: Path) -> None:
    """Whoever wins a key, there is one charge, and all eight are told the same of it."""
    racers = [start(RACER, tmp_path / "sandbox.db") for _ in range(8)]
    for racer in racers:
        assert racer.stdout is not None
        assert racer.stdout.readline() == "ready\n"

    for racer in racers:
        assert racer.stdin is not None
        racer.stdin.write("go\n")
        racer.stdin.flush()
    told = [json.loads(racer.communicate(timeout=60)[0]) for racer in racers]

    keys = [entry.key for entry in SandboxGateway(tmp_path / "sandbox.db").book()]
    assert sorted(keys) == sorted(f"web-{n}/authorize" for n in range(200))
    assert all(answers == told[0] for answers in told)


CAPTURES = 40


def test_of_threads_that_race_to_capture_one_does(reopen: Reopen) -> None:
    """Forty captures of a tenth each under forty keys: one succeeds, the rest is released."""
    gateway = reopen()
    paid = gateway.perform(authorize())
    assert isinstance(paid, Succeeded)
    calls = [
        Call("capture", f"web-1001/capture-{n}", 595, "EUR", parent=paid.reference)
        for n in range(CAPTURES)
    ]

    with ThreadPoolExecutor(8) as threads:
        answers = list(threads.map(gateway.perform, calls))

    assert Counter(map(type, answers)) == {Succeeded: 1, Declined: CAPTURES - 1}


KILLED = """
import os, signal, sys
from pipeline.payments.gateway import Call
from pipeline.payments.sandbox import SandboxGateway

SandboxGateway(sys.argv[1]).perform(Call("authorize", "web-1001/authorize", 5950, "EUR"))
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_what_was_done_outlives_the_process_that_did_it(tmp_path: Path) -> None:
    """After kill -9 the book still knows the charge."""
    killed = start(KILLED, tmp_path / "sandbox.db")

    killed.communicate(timeout=60)

    assert killed.returncode == -signal.SIGKILL
    assert isinstance(SandboxGateway(tmp_path / "sandbox.db").find(authorize()), Succeeded)
