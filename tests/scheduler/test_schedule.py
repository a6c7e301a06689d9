"""When a job is due: the same moments on every host, in UTC."""

from __future__ import annotations

from datetime import datetime

import pytest
from cronsim import CronSimError

from scheduler.job import Cron, Every, Schedule


def at(time: str) -> datetime:
    return datetime.fromisoformat(f"2026-03-29T{time}+00:00")


@pytest.mark.parametrize(
    ("schedule", "now", "latest", "following"),
    [
        (Every(60), "12:00:00", "12:00:00", "12:01:00"),
        (Every(60), "12:00:59.999", "12:00:00", "12:01:00"),
        (Every(10), "12:00:59", "12:00:50", "12:01:00"),
        (Every(3600), "12:59:59", "12:00:00", "13:00:00"),
        (Cron("* * * * *"), "12:00:00", "12:00:00", "12:01:00"),
        (Cron("* * * * *"), "12:00:59.999", "12:00:00", "12:01:00"),
        (Cron("40 * * * *"), "12:39:59", "11:40:00", "12:40:00"),
        (Cron("40 * * * *"), "12:40:00", "12:40:00", "13:40:00"),
        # Summer time begins in Europe on that day, at 01:00: neither doubled nor left out.
        (Cron("*/30 * * * *"), "01:10:00", "01:00:00", "01:30:00"),
        (Cron("30 1 * * *"), "02:00:00", "01:30:00", "1 day later 01:30:00"),
    ],
)
def test_a_job_is_due_at_the_moments_of_its_schedule(
    schedule: Schedule, now: str, latest: str, following: str
) -> None:
    is_tomorrow = following.startswith("1 day")
    expected = at(following.removeprefix("1 day later "))

    found = schedule.following(at(now))

    assert schedule.latest(at(now)) == at(latest)
    assert found == (expected.replace(day=30) if is_tomorrow else expected)


def test_what_is_no_cron_expression_is_refused_at_once() -> None:
    with pytest.raises(CronSimError):
        Cron("61 * * * *")
