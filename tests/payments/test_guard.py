"""The guard around a gateway: it is left alone while it is unwell, and not asked too often."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

import pytest

from pipeline.payments import guard
from pipeline.payments.gateway import (
    Answer,
    Call,
    Declined,
    Payment,
    RequiresAction,
    Succeeded,
    Unavailable,
    Unknown,
)
from pipeline.payments.guard import Breaker, GuardedGateway
from pipeline.payments.sandbox import SandboxGateway

CALL = Call("authorize", "a-key", 5950, "EUR")
DONE, UNWELL = Succeeded("a-reference"), Unknown("time-out")
FAILURES, REST = 3, 10.0


class Clock:
    """Seconds that pass when told to."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now

    def passes(self, seconds: float) -> None:
        self.now += seconds


class Scripted(SandboxGateway):
    """A gateway that answers as told, and counts what it was asked."""

    def __init__(self) -> None:
        super().__init__(None)
        self.says: Callable[[], Answer] = lambda: DONE
        self.asked = 0

    def perform(self, call: Call) -> Answer:
        self.asked += 1
        return self.says()

    def find(self, call: Call) -> Answer | None:
        return self.perform(call)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def gateway() -> Scripted:
    return Scripted()


@pytest.fixture
def guarded(gateway: Scripted, clock: Clock) -> GuardedGateway:
    return GuardedGateway(gateway, breaker=Breaker(FAILURES, REST, clock))


def ask(guarded: GuardedGateway, gateway: Scripted, *answers: Answer) -> list[Answer]:
    """What the guard says while the gateway would say `answers`."""
    said = []
    for answer in answers:
        gateway.says = lambda answer=answer: answer
        said.append(guarded.perform(CALL))
    return said


# The breaker


def test_a_gateway_that_is_well_is_asked(guarded: GuardedGateway, gateway: Scripted) -> None:
    answers = [DONE, Declined("card_declined"), RequiresAction("a-reference")]

    assert ask(guarded, gateway, *answers) == answers
    assert guarded.state == "closed"


@pytest.mark.parametrize("answer", [UNWELL, Unavailable("429", 1.0)])
def test_after_failures_in_a_row_it_is_left_alone(
    guarded: GuardedGateway, gateway: Scripted, clock: Clock, answer: Answer
) -> None:
    """Nobody asks it, and each is told how long for."""
    ask(guarded, gateway, *[answer] * FAILURES)
    clock.passes(4)

    refusal = guarded.perform(CALL)

    assert refusal == Unavailable("sandbox has been unwell and is left alone", REST - 4)
    assert (guarded.state, gateway.asked) == ("open", FAILURES)


def test_declines_are_no_failures(guarded: GuardedGateway, gateway: Scripted) -> None:
    ask(guarded, gateway, *[Declined("card_declined")] * 20)

    assert guarded.state == "closed"


def test_failures_must_be_in_a_row(guarded: GuardedGateway, gateway: Scripted) -> None:
    ask(guarded, gateway, *[UNWELL, UNWELL, DONE, UNWELL, UNWELL, Declined("no"), UNWELL])

    assert guarded.state == "closed"


@pytest.fixture
def rested(guarded: GuardedGateway, gateway: Scripted, clock: Clock) -> GuardedGateway:
    """A guard that has left its gateway alone for as long as it should."""
    ask(guarded, gateway, *[UNWELL] * FAILURES)
    clock.passes(REST)
    gateway.asked = 0
    return guarded


def test_a_probe_that_succeeds_ends_it(rested: GuardedGateway, gateway: Scripted) -> None:
    assert ask(rested, gateway, DONE, UNWELL) == [DONE, UNWELL]
    assert rested.state == "closed"


def test_a_probe_that_fails_begins_it_anew(
    rested: GuardedGateway, gateway: Scripted, clock: Clock
) -> None:
    """One failure is enough now."""
    assert ask(rested, gateway, UNWELL) == [UNWELL]
    clock.passes(REST - 1)

    assert isinstance(rested.perform(CALL), Unavailable)
    assert (rested.state, gateway.asked) == ("open", 1)


def test_one_probe_is_let_through_and_the_others_wait_for_it(
    rested: GuardedGateway, gateway: Scripted
) -> None:
    probing, go = threading.Event(), threading.Event()

    def slowly() -> Answer:
        probing.set()
        assert go.wait(10)
        return DONE

    gateway.says = slowly
    with ThreadPoolExecutor(8) as threads:
        probe = threads.submit(rested.perform, CALL)
        assert probing.wait(10)
        others = list(threads.map(rested.perform, [CALL] * 7))
        state = rested.state
        go.set()

    assert probe.result() == DONE
    assert {type(other) for other in others} == {Unavailable}
    assert (state, gateway.asked, rested.state) == ("open", 1, "closed")


def test_a_probe_that_is_never_heard_of_again_is_followed_by_another(
    rested: GuardedGateway, gateway: Scripted, clock: Clock
) -> None:
    """A defect that raises must not keep a gateway shut for ever."""

    def crash() -> Answer:
        raise RuntimeError

    gateway.says = crash
    with pytest.raises(RuntimeError):
        rested.perform(CALL)
    assert isinstance(rested.perform(CALL), Unavailable)

    clock.passes(REST)

    assert ask(rested, gateway, DONE) == [DONE]
    assert rested.state == "closed"


def test_calls_go_on_side_by_side(gateway: Scripted) -> None:
    """Thirty-two threads that each wait for the gateway do so at once."""
    together = threading.Barrier(32)

    def when_all_are_there() -> Answer:
        together.wait(10)
        return DONE

    gateway.says = when_all_are_there
    guarded = GuardedGateway(gateway, breaker=Breaker(FAILURES, REST))
    with ThreadPoolExecutor(32) as threads:
        answers = list(threads.map(guarded.perform, [CALL] * 32))

    assert answers == [DONE] * 32


def test_looking_up_is_guarded_too(
    guarded: GuardedGateway, gateway: Scripted, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A look-up that fails counts, and none is made while the gateway is left alone."""
    gateway.says = lambda: UNWELL
    monkeypatch.setattr(gateway, "read", lambda reference: UNWELL)

    assert guarded.read("a-reference") == UNWELL
    assert [guarded.find(CALL) for _ in range(2)] == [UNWELL] * 2

    assert isinstance(guarded.find(CALL), Unavailable)
    assert guarded.read("a-reference") == Unknown("sandbox has been unwell and is left alone")


def test_a_payment_that_is_not_there_is_no_failure(guarded: GuardedGateway) -> None:
    assert [guarded.read("no-such-reference") for _ in range(20)] == [None] * 20
    assert guarded.state == "closed"


def test_all_else_is_as_the_gateway_says(clock: Clock) -> None:
    gateway = SandboxGateway(None)
    guarded = GuardedGateway(gateway, breaker=Breaker(FAILURES, REST, clock), rate=1000)
    answer = guarded.perform(CALL)
    assert isinstance(answer, Succeeded)
    (event,) = guarded.events(datetime.now(UTC).replace(year=2000))

    assert guarded.name == "sandbox"
    assert guarded.find(CALL) == answer
    assert isinstance(guarded.read(answer.reference), Payment)
    assert [entry.key for entry in guarded.book()] == ["a-key"]
    assert guarded.verify(*gateway.sign(event)) == event


# The rate


def limited(gateway: Scripted, rate: int) -> GuardedGateway:
    return GuardedGateway(gateway, breaker=Breaker(FAILURES, REST), rate=rate)


def test_calls_beyond_the_rate_wait_for_their_turn(
    gateway: Scripted, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ten at once under a rate of five: five now, five in the next second, none refused."""
    monkeypatch.setattr(guard, "PATIENCE", 30.0)
    guarded = limited(gateway, 5)
    began = time.monotonic()

    with ThreadPoolExecutor(10) as threads:
        answers = list(threads.map(guarded.perform, [CALL] * 10))

    assert answers == [DONE] * 10
    assert time.monotonic() - began >= 1.0


def test_who_would_wait_too_long_is_told_when_to_come_back(
    gateway: Scripted, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(guard, "PATIENCE", 0.0)
    guarded = limited(gateway, 5)

    answers = [guarded.perform(CALL) for _ in range(6)]

    refusal = answers[-1]
    assert answers[:5] == [DONE] * 5
    assert isinstance(refusal, Unavailable)
    assert refusal.retry_after is not None
    assert 0 < refusal.retry_after <= 1.0
    assert gateway.asked == 5


def test_a_rate_that_is_used_up_opens_no_circuit(
    gateway: Scripted, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is we who are too fast; the gateway is well."""
    monkeypatch.setattr(guard, "PATIENCE", 0.0)
    guarded = limited(gateway, 1)

    answers = Counter(type(guarded.perform(CALL)) for _ in range(50))

    assert answers[Unavailable] >= FAILURES
    assert guarded.state == "closed"


def test_a_host_s_clock_that_is_set_back_makes_nobody_wait(
    gateway: Scripted, monkeypatch: pytest.MonkeyPatch
) -> None:
    guarded = limited(gateway, 1)
    assert guarded.perform(CALL) == DONE
    real = time.time
    monkeypatch.setattr(time, "time", lambda: real() - 3_600)

    assert guarded.perform(CALL) == DONE


def test_each_gateway_has_a_rate_of_its_own(
    gateway: Scripted, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(guard, "PATIENCE", 0.0)
    one, other = limited(gateway, 1), limited(gateway, 1)

    assert (one.perform(CALL), other.perform(CALL)) == (DONE, DONE)
