"""The same warning is said once, with a count; what differs is said each time, and nothing is lost."""

from __future__ import annotations

import io
import logging
from collections.abc import Callable, Iterator

import pytest

from pipeline.telemetry import logs
from pipeline.telemetry.repeats import MOST, WINDOW, Repeats

log = logging.getLogger("tests.repeats")


class Said:
    """What is on standard error, by a clock that the test turns."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.stream = io.StringIO()
        self.handler = logging.StreamHandler(self.stream)
        self.repeats = Repeats(self.handler, lambda: self.now)
        self.handler.addFilter(self.repeats)
        self.handler.setFormatter(logging.Formatter("%(levelname)s %(message)s"))

    @property
    def lines(self) -> list[str]:
        return self.stream.getvalue().splitlines()


@pytest.fixture
def said() -> Iterator[Said]:
    made = Said()
    log.addHandler(made.handler)
    log.setLevel(logging.INFO)
    yield made
    log.removeHandler(made.handler)


def test_what_is_said_a_thousand_times_is_one_line_and_then_a_count(said: Said) -> None:
    for n in range(1000):
        log.warning("could not renew leases of %d orders: connection refused", n)
    first = list(said.lines)
    said.now += WINDOW
    log.warning("could not renew leases of %d orders: connection refused", 7)

    assert first == ["WARNING could not renew leases of 0 orders: connection refused"]
    assert said.lines[1:] == [
        "WARNING could not renew leases of 7 orders: connection refused "
        "(999 times more since it was last said)"
    ]


def test_the_count_is_told_if_it_is_never_said_again(said: Said) -> None:
    for _ in range(5):
        log.error("the disk is full")
    said.now += WINDOW
    said.repeats.tell()
    said.repeats.tell()

    assert said.lines[1:] == ["ERROR 4 times more since it was last said: the disk is full"]


def test_a_traceback_is_written_once(said: Said) -> None:
    def fail(why: str) -> None:
        try:
            raise ConnectionError(why)
        except ConnectionError:
            log.exception("a consumer died")

    for _ in range(50):
        fail("connection 17 refused")
    fail("out of memory")

    assert said.stream.getvalue().count("Traceback") == 2


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (lambda: log.warning("a"), lambda: log.warning("b")),
        (lambda: log.warning("could not %s", "read"), lambda: log.warning("could not %s", "write")),
        (lambda: log.warning("a"), lambda: log.error("a")),
    ],
)
def test_what_differs_is_another_cause(
    said: Said, one: Callable[[], None], other: Callable[[], None]
) -> None:
    one()
    other()

    assert len(said.lines) == 2


def test_what_is_no_warning_is_always_said(said: Said) -> None:
    for _ in range(3):
        log.info("3 orders are in")

    assert len(said.lines) == 3


def test_where_too_much_is_said_to_be_remembered_all_of_it_is_said(said: Said) -> None:
    for word in range(MOST + 50):
        log.warning("about %s", "".join(chr(97 + int(d)) for d in str(word)))
    for _ in range(2):
        log.warning("the disk is full")

    assert len(said.lines) == MOST + 52


def test_what_nobody_repeated_makes_room_for_what_is_new(said: Said) -> None:
    for word in range(MOST):
        log.warning("%s", "x" * (word + 1))
    said.now += WINDOW
    for _ in range(3):
        log.warning("new")

    assert len(said.lines) == MOST + 1


def test_a_line_of_text_names_what_it_is_about() -> None:
    record = logging.makeLogRecord(
        {"name": "engine", "levelname": "WARNING", "msg": "recording again", "levelno": 30}
    )
    with logs.bound(stage="pay", orders=lambda: [17, 18], request="r-1"):
        told = logs.formatter("text").format(record)
    bare = logs.formatter("text").format(record)

    assert told.endswith("engine: recording again [stage=pay orders=17,18 request=r-1]")
    assert bare.endswith("engine: recording again")
