"""One trace an order, from the request that placed it to its last stage, whoever worked on it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ParentBased, TraceIdRatioBased
from opentelemetry.trace import StatusCode
from sqlalchemy import select
from starlette.testclient import TestClient

from pipeline.chain import STAGES
from pipeline.payments.gateway import Answer, Call, Unknown
from pipeline.payments.guard import Breaker, GuardedGateway
from pipeline.payments.sandbox import SandboxGateway
from pipeline.source import Policy
from pipeline.stages.reserve import Reserve
from pipeline.storage import archive
from pipeline.storage.tables import order_documents
from pipeline.telemetry import tracing
from tests.support import MUG, Mill, an_order

TRACE, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
TRACEPARENT = f"00-{TRACE}-{PARENT}-01"


class Killed(BaseException):
    """As if the process were gone: nobody of ours catches it."""


class Spans:
    """What a collector would have been sent."""

    def __init__(self, exporter: InMemorySpanExporter) -> None:
        self._exporter = exporter

    @property
    def all(self) -> list[ReadableSpan]:
        return sorted(self._exporter.get_finished_spans(), key=lambda s: s.start_time or 0)

    def of(self, trace_id: str) -> list[ReadableSpan]:
        return [s for s in self.all if f"{s.context.trace_id:032x}" == trace_id]

    def names(self, trace_id: str = TRACE) -> list[str]:
        return [s.name for s in self.of(trace_id)]

    def stages(self, trace_id: str = TRACE) -> list[tuple[str, str]]:
        """Stage and outcome, in the order of time."""
        return [
            (s.name, str(s.attributes["ordermill.outcome"]))
            for s in self.of(trace_id)
            if s.attributes and "ordermill.outcome" in s.attributes
        ]


@contextmanager
def traced_by(provider: TracerProvider) -> Iterator[Spans]:
    exporter = InMemorySpanExporter()
    provider.add_span_processor(SimpleSpanProcessor(exporter))
    tracing.use(provider)
    try:
        yield Spans(exporter)
    finally:
        tracing.use(None)


@pytest.fixture
def spans() -> Iterator[Spans]:
    with traced_by(TracerProvider()) as made:
        yield made


def _place(client: TestClient, traceparent: str | None = TRACEPARENT, **changes: Any) -> int:
    headers = {"traceparent": traceparent} if traceparent else {}
    answer = client.post("/v1/orders", json=an_order(**changes), headers=headers)
    assert answer.status_code == 202
    return int(answer.json()["id"])


def _kept(shop: Mill) -> list[str | None]:
    with shop.database.snapshot() as tx:
        query = select(order_documents.c.traceparent).order_by(order_documents.c.order_id)
        return list(tx.execute(query).scalars())


ALL_THROUGH = [(stage, "advanced") for stage in STAGES]


def test_one_trace_spans_from_the_request_to_the_last_stage(
    client: TestClient, shop: Mill, spans: Spans
) -> None:
    order = _place(client)
    shop.turn()

    assert shop.status(order) == "confirmed"
    request, *stages = spans.of(TRACE)
    assert request.name == "POST /v1/orders"
    assert request.parent is not None
    assert f"{request.parent.span_id:016x}" == PARENT
    assert spans.stages() == ALL_THROUGH
    assert {s.parent.span_id for s in stages if s.parent} == {request.context.span_id}
    assert all(s.attributes and s.attributes["ordermill.order.id"] == order for s in stages)
    assert all(s.start_time and s.end_time and s.start_time <= s.end_time for s in stages)


def test_a_request_without_a_trace_begins_one(client: TestClient, shop: Mill, spans: Spans) -> None:
    _place(client, traceparent=None)
    _place(client, traceparent="nonsense")
    shop.turn()

    roots = [s for s in spans.all if s.name == "POST /v1/orders"]
    traces = [f"{s.context.trace_id:032x}" for s in roots]
    assert [s.parent for s in roots] == [None, None]
    assert [spans.stages(trace) for trace in traces] == [ALL_THROUGH, ALL_THROUGH]


def test_orders_taken_through_together_keep_a_trace_each_linked_to_their_batch(
    client: TestClient, shop: Mill, spans: Spans
) -> None:
    traces = [f"{n:032x}" for n in (1, 2, 3)]
    for trace in traces:
        _place(client, f"00-{trace}-{PARENT}-01")
    shop.turn()

    assert [spans.stages(trace) for trace in traces] == [ALL_THROUGH] * 3
    batch = next(s for s in spans.all if s.name == "batch pay")
    assert {f"{link.context.trace_id:032x}" for link in batch.links} == set(traces)
    for trace in traces:
        pay = next(s for s in spans.of(trace) if s.name == "pay")
        assert [link.context.span_id for link in pay.links] == [batch.context.span_id]


def test_orders_of_a_stream_have_a_trace_each_linked_to_the_request(
    client: TestClient, shop: Mill, spans: Spans
) -> None:
    body = "\n".join(json.dumps(an_order()) for _ in range(3))
    headers = {"Content-Type": "application/x-ndjson", "traceparent": TRACEPARENT}
    assert client.post("/v1/orders/batch", content=body, headers=headers).status_code == 200
    shop.turn()

    begun = [s for s in spans.all if s.name == "accept"]
    assert len({s.context.trace_id for s in begun}) == 3
    assert {f"{link.context.trace_id:032x}" for s in begun for link in s.links} == {TRACE}
    for span in begun:
        assert spans.stages(f"{span.context.trace_id:032x}") == ALL_THROUGH


# --- Whatever happens to it ---------------------------------------------------------------------------


def test_a_retry_is_in_the_same_trace(
    client: TestClient, shop: Mill, spans: Spans, gateway: SandboxGateway,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    perform, calls = gateway.perform, []

    def at_first_unknown(call: Call) -> Answer:
        calls.append(call)
        return Unknown("no answer") if len(calls) == 1 else perform(call)

    monkeypatch.setattr(gateway, "perform", at_first_unknown)
    _place(client)
    shop.turn()

    assert [s for s in spans.stages() if s[0] == "pay"] == [("pay", "retried"), ("pay", "advanced")]
    tries = [s for s in spans.of(TRACE) if s.name == "pay"]
    assert [s.attributes and s.attributes["ordermill.attempt"] for s in tries] == [1, 2]
    assert spans.stages()[-1] == ("notify", "advanced")


def test_a_worker_killed_between_stages_leaves_one_trace(
    client: TestClient, shop: Mill, spans: Spans, monkeypatch: pytest.MonkeyPatch
) -> None:
    def killed(*_: Any) -> Any:
        raise Killed

    order = _place(client)
    with monkeypatch.context() as patch:
        patch.setattr(Reserve, "settle", killed)
        with pytest.raises(Killed):
            shop.engine.work("validate")
    shop.expire_leases()
    another = Mill(shop.database, gateway=shop.gateway)
    another.turn()

    assert shop.status(order) == "confirmed"
    assert spans.stages() == ALL_THROUGH
    assert spans.names()[0] == "POST /v1/orders"
    died = [s for s in spans.all if s.name == "batch reserve"]
    assert [s.status.status_code for s in died] == [StatusCode.ERROR, StatusCode.UNSET]
    assert died[0].status.description == "Killed"


def test_a_decline_is_no_error_and_a_hold_is_one(
    client: TestClient, shop: Mill, spans: Spans
) -> None:
    careful = Policy(hold_countries=frozenset({"FR"}))
    source = shop.another_source("shop", careful)
    with tracing.within(f"00-{1:032x}-{PARENT}-01"):
        shop.intake.accept(source, an_order(method="pm_card_declined"))
    with tracing.within(f"00-{2:032x}-{PARENT}-01"):
        shop.intake.accept(source, an_order(ship_to={"country": "FR", "postal_code": "75001"}))
    shop.turn()

    declined = next(s for s in spans.of(f"{1:032x}") if s.name == "pay")
    held = spans.of(f"{2:032x}")[-1]
    assert declined.status.status_code == StatusCode.UNSET
    assert (declined.attributes or {})["ordermill.reason"] == "declined"
    assert held.status.status_code == StatusCode.ERROR
    assert held.status.description == "country_held"


def test_an_order_sent_twice_keeps_the_trace_of_the_first(
    client: TestClient, shop: Mill, spans: Spans
) -> None:
    order = an_order()
    client.post("/v1/orders", json=order, headers={"traceparent": TRACEPARENT})
    again = client.post("/v1/orders", json=order)
    shop.turn()

    assert again.status_code == 200
    assert len(_kept(shop)) == 1
    assert spans.stages() == ALL_THROUGH


def test_a_call_to_the_gateway_is_in_the_trace_of_an_order_that_stands_alone(
    client: TestClient, shop: Mill, spans: Spans
) -> None:
    guarded = GuardedGateway(shop.gateway, breaker=Breaker(20, 10.0))
    another = Mill(shop.database, gateway=guarded)
    _place(client)
    another.turn()

    calls = [s for s in spans.of(TRACE) if s.name.startswith("gateway ")]
    assert [s.name for s in calls] == ["gateway authorize", "gateway capture"]
    assert {(s.attributes or {})["ordermill.answer"] for s in calls} == {"succeeded"}


def test_a_trace_outlives_the_archive(shop: Mill, client: TestClient) -> None:
    order, _newest = _place(client), _place(client, None)
    shop.turn()
    with shop.database.transaction() as tx:
        archive.move(tx, [order])
    gone = _kept(shop)
    with shop.database.transaction() as tx:
        archive.restore(tx, [order], "test")

    assert (gone, _kept(shop)) == ([None], [TRACEPARENT, None])


# --- What isn't sampled, and what is off --------------------------------------------------------------


def test_what_nobody_samples_has_no_spans(client: TestClient, shop: Mill, spans: Spans) -> None:
    _place(client, f"00-{TRACE}-{PARENT}-00")
    before = len(spans.all)
    shop.turn()

    assert (before, spans.of(TRACE)) == (0, [])
    assert [s.name for s in spans.all if s.name.startswith("batch")] == []


def test_of_orders_that_come_without_a_trace_as_many_are_traced_as_the_sampler_says(
    shop: Mill,
) -> None:
    with traced_by(TracerProvider(sampler=ParentBased(TraceIdRatioBased(0.5)))) as spans:
        shop.intake.accept_all(shop.source, [an_order(lines=[(MUG, 1)]) for _ in range(100)])
        shop.turn()

        kept = [each for each in _kept(shop) if each is not None]
        assert 20 < len(kept) < 80
        traces = {f"{s.context.trace_id:032x}" for s in spans.all if s.name == "accept"}
        assert {each.split("-")[1] for each in kept} == traces
        assert all(spans.stages(trace) == ALL_THROUGH for trace in traces)


def test_where_nothing_is_traced_a_trace_that_was_given_is_kept_and_none_is_made(
    client: TestClient, shop: Mill
) -> None:
    _place(client)
    _place(client, None)
    _place(client, "00-zz-zz-01")
    shop.accept()

    assert _kept(shop) == [TRACEPARENT, None, None, None]


def test_spans_name_nobody_and_quote_nothing(
    client: TestClient, shop: Mill, spans: Spans, monkeypatch: pytest.MonkeyPatch
) -> None:
    def defective(*_: Any) -> Any:
        raise RuntimeError("ada@example.com paid with 4111 1111 1111 1111")

    client.get("/v1/orders?external_id=ada@example.com")
    monkeypatch.setattr(Reserve, "settle", defective)
    _place(client)
    shop.turn()

    told = " ".join(span.to_json() for span in spans.all)
    assert re.search(r"4111\W?1111", told) is None
    assert "@" not in told
    assert "Ada" not in told  # no id has a capital letter


def test_the_console_and_the_process_itself_are_not_traced(
    client: TestClient, spans: Spans
) -> None:
    for path in ("/healthz", "/readyz", "/console/sign-in", "/metrics"):
        client.get(path)

    assert spans.all == []


def test_orders_from_before_anything_was_traced_have_no_spans(
    client: TestClient, shop: Mill
) -> None:
    shop.accept()

    with traced_by(TracerProvider()) as spans:
        shop.turn()

        assert spans.all == []
