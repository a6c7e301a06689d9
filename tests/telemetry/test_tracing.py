"""Tracing is as the standard variables of OpenTelemetry say, and off where they say nothing."""

from __future__ import annotations

import logging
import sys
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from pipeline.errors import ConfigurationError
from pipeline.telemetry import tracing
from tests.support import Mill

ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT"


@pytest.fixture(autouse=True)
def _nothing_set(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (ENDPOINT, "OTEL_TRACES_EXPORTER", "OTEL_SDK_DISABLED", "OTEL_SERVICE_NAME"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def collector() -> Iterator[tuple[str, list[tuple[str, bytes]]]]:
    """The address of a collector, and what it was sent: (path, body)."""
    sent: list[tuple[str, bytes]] = []

    class Collector(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            sent.append((self.path, self.rfile.read(int(self.headers["content-length"]))))
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None: ...

    server = HTTPServer(("127.0.0.1", 0), Collector)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}", sent
    server.shutdown()
    server.server_close()
    thread.join()


def test_spans_are_sent_to_the_endpoint_that_is_set_and_the_last_at_the_end(
    mill: Callable[..., Mill],
    collector: tuple[str, list[tuple[str, bytes]]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    address, sent = collector
    monkeypatch.setenv(ENDPOINT, address)
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_COMPRESSION", "none")
    shop = mill().stocked()

    with tracing.configured("worker"):
        shop.accept()
        shop.turn()

    assert {path for path, _ in sent} == {"/v1/traces"}
    body = b"".join(body for _, body in sent)
    for text in (b"ordermill-worker", b"accept", b"batch pay", b"ordermill.outcome"):
        assert text in body
    assert not tracing.is_on()


@pytest.mark.parametrize(
    ("set_", "traced"),
    [
        ({}, False),
        ({ENDPOINT: "http://127.0.0.1:9"}, True),
        ({ENDPOINT: "http://127.0.0.1:9", "OTEL_TRACES_EXPORTER": "none"}, False),
        ({ENDPOINT: "http://127.0.0.1:9", "OTEL_SDK_DISABLED": "true"}, False),
        ({"OTEL_TRACES_EXPORTER": "console"}, True),
    ],
    ids=["nothing", "endpoint", "none", "disabled", "console"],
)
def test_tracing_is_on_where_it_is_asked_for(
    set_: dict[str, str], traced: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in set_.items():
        monkeypatch.setenv(name, value)

    with tracing.configured("web"):
        is_on = tracing.is_on()

    assert is_on == traced


def test_without_the_extra_there_are_no_traces_and_the_log_says_why(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv(ENDPOINT, "http://127.0.0.1:9")
    monkeypatch.setitem(sys.modules, "opentelemetry.sdk.trace", None)
    caplog.set_level(logging.WARNING)

    with tracing.configured("worker"):
        is_on = tracing.is_on()

    assert not is_on
    assert "pip install 'ordermill[otel]'" in caplog.text


def test_an_exporter_that_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_TRACES_EXPORTER", "carrier_pigeon")

    with (
        pytest.raises(ConfigurationError, match="OTEL_TRACES_EXPORTER: got carrier_pigeon"),
        tracing.configured("worker"),
    ):
        pass


GOOD = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


@pytest.mark.parametrize(
    ("text", "is_one"),
    [
        (GOOD, True),
        (GOOD.upper(), False),
        (GOOD + "\n", False),
        (GOOD + "-more", False),
        ("01" + GOOD[2:], False),
        ("00-" + "0" * 32 + GOOD[35:], False),
        (GOOD[:36] + "0" * 16 + "-01", False),
        ("", False),
    ],
)
def test_a_traceparent_has_one_form(text: str, is_one: bool) -> None:
    assert tracing.is_traceparent(text) == is_one
