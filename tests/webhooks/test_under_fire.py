"""Dispatchers that die, hang, or are several: nothing is lost, and what is told twice is known."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator
from dataclasses import replace

import pytest
from sqlalchemy import update
from sqlalchemy.exc import OperationalError

from pipeline.storage import webhooks
from pipeline.storage.database import Tx
from pipeline.storage.sql import now
from pipeline.storage.tables import webhook_endpoints
from tests.webhooks.conftest import MASTER, Receiver, Teller, until


def let_the_lease_run_out(teller: Teller) -> None:
    with teller.database.transaction() as tx:
        tx.execute(update(webhook_endpoints).values(leased_until=now(-1)))


@pytest.fixture
def start(teller: Teller) -> Iterator[Callable[[], subprocess.Popen[bytes]]]:
    started: list[subprocess.Popen[bytes]] = []

    def start() -> subprocess.Popen[bytes]:
        url = teller.database.url.render_as_string(hide_password=False)
        command = [sys.executable, "-m", "tests.webhooks.dispatcher_process", url, MASTER]
        started.append(subprocess.Popen(command, env={**os.environ, "PYTHONPATH": os.getcwd()}))
        return started[-1]

    yield start
    for process in started:
        process.kill()
        process.wait()


def test_who_is_killed_leaves_what_was_not_written_down_and_exactly_that_is_told_again(
    teller: Teller, receiver: Receiver, start: Callable[[], subprocess.Popen[bytes]]
) -> None:
    receiver.script.stalls_after = 20
    endpoint = teller.endpoint(receiver.url("/stalls"))
    orders = teller.confirmed(40)

    process = start()
    until(lambda: len(receiver.received) > 20 and teller.states(endpoint).count("delivered") == 20)
    process.kill()
    process.wait()
    told = {each.id for each in receiver.received}
    written = {
        f"evt_{d['order_id']}_{d['seq']}" for d in teller.log(endpoint) if d["state"] == "delivered"
    }
    receiver.script.over.set()
    teller.deliver()
    held = len(receiver.received)
    let_the_lease_run_out(teller)
    teller.deliver()

    assert held == len(told)  # nobody else touches what may yet be in hand
    assert written < told
    often = Counter(each.id for each in receiver.received)
    assert {name for name, times in often.items() if times == 2} == told - written
    assert len(often) == len(orders)
    assert max(often.values()) == 2
    assert teller.states(endpoint) == ["delivered"] * len(orders)


def test_two_dispatchers_at_once_tell_everything_once(teller: Teller, receiver: Receiver) -> None:
    hooks = [teller.endpoint(receiver.url(f"/{n}"), "order.paid", "order.confirmed") for n in "abc"]
    both = [teller.dispatcher() for _ in range(2)]
    for each in both:
        each.start()
    try:
        for _ in range(5):
            teller.confirmed(10)
        until(lambda: len(receiver.received) >= 300)
        time.sleep(0.3)
    finally:
        for each in both:
            each.stop(5)

    often = Counter((each.path, each.id) for each in receiver.received)
    assert len(often) == 300
    assert set(often.values()) == {1}
    assert [set(teller.states(hook)) for hook in hooks] == [{"delivered"}] * 3


def test_an_exchange_that_outlasts_the_lease_keeps_it(teller: Teller, receiver: Receiver) -> None:
    teller.pace = replace(teller.pace, lease=0.4)
    endpoint = teller.endpoint(receiver.url("/stalls"))
    teller.confirmed()
    slow, other = teller.dispatcher(), teller.dispatcher()
    slow.start()
    until(lambda: len(receiver.received) == 1)

    for _ in range(10):
        other.deliver(endpoint)
        time.sleep(0.1)
    receiver.script.over.set()
    until(lambda: teller.states(endpoint) == ["delivered"])
    slow.stop(5)
    other.stop(0)

    assert len(receiver.received) == 1


def test_a_lease_that_could_not_be_handed_back_is_handed_back_when_the_database_returns(
    teller: Teller, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    away = threading.Event()
    release = webhooks.release

    def release_if_it_is_there(tx: Tx, tokens: Collection[str]) -> None:
        if away.is_set():
            raise OperationalError("release", {}, Exception("the server is starting up"))
        release(tx, tokens)

    monkeypatch.setattr(webhooks, "release", release_if_it_is_there)
    teller.pace = replace(teller.pace, lease=600.0)
    endpoint = teller.endpoint(receiver.url())
    teller.confirmed()
    away.set()
    dispatcher, other = teller.dispatcher(), teller.dispatcher()
    dispatcher.start()
    try:
        until(lambda: teller.states(endpoint) == ["delivered"])
        teller.confirmed()
        other.deliver()
        meanwhile = len(receiver.received)
        away.clear()
        until(lambda: len(receiver.received) == 2)  # the lease would last for minutes
    finally:
        dispatcher.stop(5)
        other.stop(0)

    assert meanwhile == 1


def test_what_a_dispatcher_finds_that_was_taken_for_dead_is_not_written(
    teller: Teller, receiver: Receiver
) -> None:
    teller.impatient(1.0)
    endpoint = teller.endpoint(receiver.url("/silent"))
    teller.confirmed()
    frozen, other = teller.dispatcher(), teller.dispatcher()
    frozen.start()
    until(lambda: len(receiver.received) == 1)

    let_the_lease_run_out(teller)
    other.deliver(endpoint)
    frozen.stop(5)
    other.stop(0)

    assert len(receiver.received) == 2
    [delivery] = teller.log(endpoint)
    assert (delivery["attempts"], len(delivery["log"])) == (1, 1)


def test_what_is_in_hand_when_told_to_stop_comes_to_its_end(
    teller: Teller, receiver: Receiver
) -> None:
    receiver.script.stalls_after = 0
    endpoint = teller.endpoint(receiver.url("/stalls"))
    teller.confirmed()
    dispatcher = teller.dispatcher()
    dispatcher.start()
    until(lambda: receiver.received)

    receiver.script.over.set()
    dispatcher.stop(5)

    assert teller.states(endpoint) == ["delivered"]


def test_what_is_not_at_its_end_in_time_is_cut_off_and_told_again(
    teller: Teller, receiver: Receiver
) -> None:
    receiver.script.stalls_after = 0
    endpoint = teller.endpoint(receiver.url("/stalls"))
    teller.confirmed()
    dispatcher = teller.dispatcher()
    dispatcher.start()
    until(lambda: receiver.received)

    dispatcher.stop(0.2)
    cut_off = teller.states(endpoint)
    receiver.script.over.set()
    teller.deliver()

    assert cut_off == ["pending"]
    assert teller.states(endpoint) == ["delivered"]
    assert len({each.id for each in receiver.received}) == 1
    assert len(receiver.received) == 2
