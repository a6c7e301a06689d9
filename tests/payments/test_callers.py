"""Many payments at once, and nobody waits for those of another lane."""

from __future__ import annotations

import threading
import time

import pytest

from pipeline.order import Lane
from pipeline.payments.callers import OUT_OF_TIME, Callers
from pipeline.payments.gateway import Answer, Call
from pipeline.payments.sandbox import SandboxGateway

PATIENCE = 10.0


def test_answers_come_in_the_order_of_the_questions() -> None:
    assert Callers({}, 4).each(lambda n: n * n, range(100)) == [n * n for n in range(100)]


def test_a_shopper_does_not_wait_for_an_import() -> None:
    callers, go, under_way = Callers({}, 2), threading.Event(), threading.Barrier(3)

    def wait(_: int) -> None:
        under_way.wait(PATIENCE)
        assert go.wait(PATIENCE)

    bulk = threading.Thread(target=lambda: callers.each(wait, range(2), Lane.BULK))
    bulk.start()
    under_way.wait(PATIENCE)

    answers = callers.each(lambda n: n, [7], Lane.INTERACTIVE)
    go.set()
    bulk.join()

    assert answers == [7]


class SlowToFind(SandboxGateway):
    def __init__(self) -> None:
        super().__init__(None)
        self.performed = 0

    def find(self, call: Call) -> None:
        time.sleep(0.05)

    def perform(self, call: Call) -> Answer:
        self.performed += 1
        return super().perform(call)


CHARGE = Call("authorize", "a", 1000, "EUR", "pm_card_visa")


@pytest.mark.parametrize("doubtful", [True, False])
def test_when_the_time_is_over_nothing_is_begun(doubtful: bool) -> None:
    gateway = SlowToFind()
    callers = Callers({"sandbox": gateway}, 2)

    answer = callers.perform("sandbox", CHARGE, time.monotonic(), doubtful=doubtful)

    assert (answer, gateway.performed) == (OUT_OF_TIME, 0)


def test_nor_after_a_look_that_took_longer_than_was_left() -> None:
    gateway = SlowToFind()
    callers = Callers({"sandbox": gateway}, 2)

    answer = callers.perform("sandbox", CHARGE, time.monotonic() + 0.02, doubtful=True)

    assert (answer, gateway.performed) == (OUT_OF_TIME, 0)


def test_what_breaks_is_raised_when_nobody_calls_any_more() -> None:
    done: list[int] = []

    def ask(n: int) -> None:
        if n == 0:
            raise RuntimeError("broken")
        done.append(n)

    with pytest.raises(RuntimeError, match="broken"):
        Callers({}, 2).each(ask, range(10))

    assert sorted(done) == list(range(1, 10))
