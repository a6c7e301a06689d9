"""What a process tells of its own work: counted when it is done, on a port that is asked for."""

from __future__ import annotations

import socket
from collections.abc import Callable

import httpx
import pytest
from prometheus_client import REGISTRY

from pipeline.engine.engine import Limits
from pipeline.errors import ConfigurationError
from pipeline.payments.gateway import Answer, Call, Unavailable, Unknown
from pipeline.payments.guard import Breaker, GuardedGateway
from pipeline.payments.sandbox import SandboxGateway
from pipeline.settings import Settings
from pipeline.stages.price import Price
from pipeline.telemetry.metrics import exposed
from tests.support import Mill, an_order

MakeMill = Callable[..., Mill]


def value(metric: str, **labels: str) -> float:
    return REGISTRY.get_sample_value(metric, labels) or 0.0


class Rise:
    """By how much series have risen since this was made."""

    def __init__(self, *series: tuple[str, dict[str, str]]) -> None:
        self._before = {self._key(*one): value(one[0], **one[1]) for one in series}

    @staticmethod
    def _key(metric: str, labels: dict[str, str]) -> tuple[str, ...]:
        return (metric, *sorted(f"{k}={v}" for k, v in labels.items()))

    def of(self, metric: str, **labels: str) -> float:
        return value(metric, **labels) - self._before[self._key(metric, labels)]


def test_a_batch_is_timed_in_its_parts_and_counted_with_its_orders(mill: MakeMill) -> None:
    shop = mill().stocked()
    parts = [("validate", "claim"), ("validate", "record"), ("pay", "call"), ("pay", "record")]
    timed = "ordermill_stage_duration_seconds_count"
    rise = Rise(
        *((timed, {"stage": stage, "part": part}) for stage, part in parts),
        ("ordermill_batch_orders_sum", {"stage": "pay"}),
        ("ordermill_stage_attempts_total", {"stage": "pay", "attempt": "first"}),
        ("ordermill_intake_orders_total", {"verdict": "accepted"}),
        ("ordermill_intake_orders_total", {"verdict": "rejected"}),
    )

    shop.intake.accept_all(shop.source, [an_order(), an_order(), an_order(currency="EURO")])
    shop.engine.work("validate")

    assert [rise.of(timed, stage=stage, part=part) for stage, part in parts] == [1, 1, 1, 1]
    assert rise.of("ordermill_batch_orders_sum", stage="pay") == 2
    assert rise.of("ordermill_stage_attempts_total", stage="pay", attempt="first") == 2
    assert rise.of("ordermill_intake_orders_total", verdict="accepted") == 2
    assert rise.of("ordermill_intake_orders_total", verdict="rejected") == 1


def test_an_order_refused_one_by_one_is_counted_too(mill: MakeMill) -> None:
    shop = mill().stocked()
    rise = Rise(("ordermill_intake_orders_total", {"verdict": "rejected"}))

    shop.intake.accept(shop.source, an_order(currency="EURO"))

    assert rise.of("ordermill_intake_orders_total", verdict="rejected") == 1


def test_a_retry_is_an_attempt_again(mill: MakeMill) -> None:
    class Silent(SandboxGateway):
        def perform(self, call: Call) -> Answer:
            return Unknown("no answer")

    shop = mill(gateway=Silent(None), limits=Limits(attempts=3)).stocked()
    attempts = "ordermill_stage_attempts_total"
    rise = Rise(*((attempts, {"stage": "pay", "attempt": a}) for a in ("first", "again")))
    shop.accept()

    shop.turn()

    assert rise.of(attempts, stage="pay", attempt="first") == 1
    assert rise.of(attempts, stage="pay", attempt="again") == 2


def test_a_stage_that_raises_is_told_of(mill: MakeMill, monkeypatch: pytest.MonkeyPatch) -> None:
    def settle(*_: object) -> object:
        raise RuntimeError

    shop = mill().stocked()
    failures, raised = "ordermill_batch_failures_total", {"stage": "price", "cause": "raised"}
    rise = Rise((failures, raised))
    monkeypatch.setattr(Price, "settle", settle)
    shop.accept()

    shop.turn()

    assert rise.of(failures, **raised) == 1


def test_calls_to_a_gateway_are_timed_by_what_was_answered(mill: MakeMill) -> None:
    shop = mill(gateway=GuardedGateway(SandboxGateway(None), breaker=Breaker(20, 10.0))).stocked()
    calls = "ordermill_gateway_call_duration_seconds_count"
    of = [
        {"gateway": "sandbox", "call": call, "answer": answer}
        for call, answer in (("authorize", "succeeded"), ("authorize", "declined"), ("capture", "succeeded"))
    ]  # fmt: skip
    rise = Rise(*((calls, labels) for labels in of))
    shop.accept()
    shop.accept(method="pm_card_declined")

    shop.turn()

    assert [rise.of(calls, **labels) for labels in of] == [1, 1, 1]


def test_calls_that_an_open_breaker_keeps_back_are_counted_as_not_made() -> None:
    class Away(SandboxGateway):
        def read(self, reference: str) -> Unknown:
            return Unknown("no answer")

    guarded = GuardedGateway(Away(None), breaker=Breaker(2, 60.0))
    refused, breaker = "ordermill_gateway_calls_refused_total", {"gateway": "sandbox", "cause": "breaker"}  # fmt: skip
    rise = Rise((refused, breaker))

    answers = [guarded.read("ch_1") for _ in range(5)]

    assert all(isinstance(answer, (Unknown, Unavailable)) for answer in answers)
    assert rise.of(refused, **breaker) == 3


# --- The port -----------------------------------------------------------------------------------------


@pytest.fixture
def port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])


def test_a_process_tells_on_the_port_that_is_set_as_long_as_it_runs(port: int) -> None:
    address = f"http://127.0.0.1:{port}/metrics"

    with exposed(Settings(_env_file=None, metrics_port=port)):
        answer = httpx.get(address)

    assert "ordermill_stage_duration_seconds" in answer.text
    assert "process_resident_memory_bytes" in answer.text
    with pytest.raises(httpx.ConnectError):
        httpx.get(address)


def test_none_is_opened_unless_it_is_set() -> None:
    settings = Settings(_env_file=None)

    assert (settings.metrics_port, settings.metrics_host) == (0, "127.0.0.1")
    with exposed(settings):
        pass


def test_a_port_that_another_has_is_named(port: int) -> None:
    settings = Settings(_env_file=None, metrics_port=port)

    with (
        socket.create_server(("127.0.0.1", port)),
        pytest.raises(ConfigurationError, match=rf"port {port}.*ORDERMILL_METRICS_PORT"),
        exposed(settings),
    ):
        pass
