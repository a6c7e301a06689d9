"""The scheduler's alarm clock, on a host whose clock is set."""

from __future__ import annotations

import logging
import threading
from collections.abc import Iterator
from datetime import datetime, timedelta, tzinfo
from typing import Self
from unittest.mock import patch

import pytest

from scheduler import alarm
from scheduler.alarm import AlarmClock

OFTEN = 0.02


class Host(datetime):
    """A host's clock, `ahead` of the time as it is."""

    ahead = timedelta(0)

    @classmethod
    def now(cls, tz: tzinfo | None = None) -> Self:
        return super().now(tz) + Host.ahead


@pytest.fixture
def host() -> Iterator[type[Host]]:
    with (
        patch("apscheduler.schedulers.base.datetime", Host),
        patch.object(alarm, "datetime", Host),
        patch.object(alarm, "LOOK_EVERY", OFTEN),
    ):
        yield Host
        Host.ahead = timedelta(0)


class Bell:
    """Something to be called; raises `failure` if there is one."""

    def __init__(self) -> None:
        self.rung = threading.Event()
        self.failure: Exception | None = None

    def __call__(self) -> None:
        self.rung.set()
        if self.failure:
            raise self.failure

    def rings_again(self) -> bool:
        self.rung.clear()
        return self.rung.wait(60)


@pytest.fixture
def bell(host: type[Host]) -> Iterator[Bell]:
    bell, clock = Bell(), AlarmClock()
    clock.add("bell", OFTEN, bell, lambda error: isinstance(error, OSError))
    clock.start()
    yield bell
    clock.stop()


@pytest.mark.parametrize("hours", [-1, 1])
def test_it_rings_on_when_the_hosts_clock_is_set(
    bell: Bell, host: type[Host], hours: float
) -> None:
    assert bell.rings_again()

    host.ahead = timedelta(hours=hours)

    assert [bell.rings_again() for _ in range(3)] == [True] * 3


def test_it_rings_on_when_a_call_fails_and_each_cause_is_logged_once(
    bell: Bell, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, alarm.__name__)
    bell.failure = OSError("the server is away")

    assert [bell.rings_again() for _ in range(3)] == [True] * 3

    assert [r.message for r in caplog.records] == ["bell failed: OSError: the server is away"]
    assert caplog.records[0].exc_info is None
