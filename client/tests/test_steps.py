"""When a call is tried again, and when not: told to the operation by hand, without a network or a clock."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime

import httpx
import pytest
from ordermill_client.errors import ApiError, NoAnswer, OrdermillError
from ordermill_client.steps import Answer, Request, Retries, Send, Wait, send

DONE = Answer(200, {}, b"{}")
REFUSED, BROKEN = httpx.ConnectError("refused"), httpx.ReadError("reset by peer")
SLOW, SLOW_TO_CONNECT = httpx.ReadTimeout("timed out"), httpx.ConnectTimeout("timed out")


def play(
    answers: Sequence[Answer], *, repeatable: bool = True, retries: Retries | None = None
) -> tuple[list[Request], list[float], Answer | OrdermillError]:
    """What was sent, how long was waited, and how it ended, where these are the answers."""
    request = Request("POST", "/v1/x", headers={"Idempotency-Key": "k"}, repeatable=repeatable)
    sent, waited, coming = [], [], iter(answers)
    steps = send(request, retries or Retries())
    try:
        step = next(steps)
        while True:
            if isinstance(step, Send):
                sent.append(step.request)
                step = steps.send(next(coming))
            else:
                assert isinstance(step, Wait)
                waited.append(step.seconds)
                step = steps.send(None)
    except StopIteration as ended:
        return sent, waited, ended.value
    except OrdermillError as error:
        return sent, waited, error


#: What comes of a try; whether it is tried again where doing it twice is doing it once, and where not.
GRID = [
    (Answer(cut=REFUSED), True, True),
    (Answer(cut=SLOW_TO_CONNECT), True, True),
    (Answer(429), True, True),
    (Answer(cut=BROKEN), True, False),
    (Answer(cut=SLOW), True, False),
    (Answer(200, {}, b"{", cut=BROKEN), True, False),
    (Answer(408), True, False),
    (Answer(500), True, False),
    (Answer(502), True, False),
    (Answer(503), True, False),
    (Answer(504), True, False),
    *((Answer(status), False, False) for status in (301, 400, 401, 403, 404, 409, 412, 422, 501)),
]


@pytest.mark.parametrize(("answer", "repeatable", "other"), GRID)
def test_what_is_tried_again(answer: Answer, repeatable: bool, other: bool) -> None:
    for again, may in ((repeatable, True), (other, False)):
        sent, waited, end = play([answer, DONE], repeatable=may)

        assert len(sent) == (2 if again else 1)
        assert len(waited) == (1 if again else 0)
        assert (end == DONE) is again
        if not again:
            assert isinstance(end, ApiError if answer.cut is None else NoAnswer)


def test_each_try_sends_the_same() -> None:
    sent, _, _ = play([Answer(503), Answer(cut=BROKEN), DONE])

    assert sent[0] is sent[1] is sent[2]


def test_pauses_double_up_to_the_longest_and_differ_by_chance() -> None:
    retries = Retries(within=1000, first=1.0, longest=8.0)
    bases = [1.0, 2.0, 4.0, 8.0, 8.0]

    runs = [play([*[Answer(503)] * 5, DONE], retries=retries)[1] for _ in range(50)]

    for at, base in enumerate(bases):
        pauses = [waited[at] for waited in runs]
        assert all(base / 2 <= pause <= base for pause in pauses)
        assert max(pauses) - min(pauses) > base / 10


@pytest.mark.parametrize("given", ["in seconds", "as a time"])
def test_a_retry_after_is_waited_for_in_full(given: str) -> None:
    in_an_hour = format_datetime(datetime.now(UTC) + timedelta(seconds=3607), usegmt=True)
    told, seconds = {"in seconds": ("7", 7), "as a time": (in_an_hour, 3000)}[given]

    _, waited, end = play(
        [Answer(429, {"retry-after": told}), DONE], retries=Retries(within=10_000)
    )

    assert end == DONE
    assert waited[0] >= seconds


def test_what_can_not_be_waited_for_is_not_begun() -> None:
    sent, waited, end = play([Answer(503, {"retry-after": "600"})])

    assert (len(sent), waited) == (1, [])
    assert isinstance(end, ApiError)
    assert end.retry_after == 600


def test_who_wants_no_other_try_has_the_first_one_in_full() -> None:
    request = Request("GET", "/v1/x")

    step = next(send(request, Retries(within=0.0)))

    assert step == Send(request, math.inf)


def test_no_later_try_outlasts_the_time_for_them() -> None:
    steps = send(Request("GET", "/v1/x"), Retries(within=5.0, first=0.001))
    next(steps)
    steps.send(Answer(503))

    step = steps.send(None)

    assert isinstance(step, Send)
    assert step.patience <= 5.0


def test_tries_end_with_the_time_for_them() -> None:
    sent, _, end = play([Answer(cut=BROKEN)] * 100, retries=Retries(within=0.0))

    assert len(sent) == 1
    assert isinstance(end, NoAnswer)
    assert end.__cause__ is BROKEN


@pytest.mark.parametrize(
    "nonsense",
    ["", "soon", "-1", "1.5", "Thu, 99 Foo 2026", "Thu, 01 Jan 99999999999999999999 00:00:00 GMT"],
)
def test_a_retry_after_that_makes_no_sense_is_none(nonsense: str) -> None:
    _, waited, end = play([Answer(503, {"retry-after": nonsense}), DONE])

    assert end == DONE
    assert waited[0] <= Retries().first
