"""The log in JSON: what a message is about stands beside it, and nothing secret in it."""

from __future__ import annotations

import io
import json
import logging
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from ordermill.session import configure_logging
from pipeline.redaction import HIDDEN, Redact
from pipeline.settings import Settings, load_settings
from pipeline.stages.pay import Pay
from pipeline.telemetry import logs, tracing
from pipeline.telemetry.logs import MOST_BYTES, MOST_ORDERS, JsonFormatter, bound
from tests.support import Mill, an_order

CARD = "4111 1111 1111 1111"
SECRET = "sk_live_51Habc"
TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"

log = logging.getLogger("tests.logs")


class Written:
    """What a process would have on its standard error."""

    def __init__(self) -> None:
        self.stream = io.StringIO()

    @property
    def lines(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.stream.getvalue().splitlines()]

    @property
    def last(self) -> dict[str, Any]:
        return self.lines[-1]


@pytest.fixture
def written() -> Iterator[Written]:
    made = Written()
    handler = logging.StreamHandler(made.stream)
    handler.setFormatter(JsonFormatter())
    handler.addFilter(Redact([SECRET]))
    root = logging.getLogger()
    root.addHandler(handler)
    yield made
    root.removeHandler(handler)


def test_a_record_is_a_line_that_says_when_how_bad_who_and_what(written: Written) -> None:
    log.warning("%d orders\nwait", 3)

    assert len(written.stream.getvalue().splitlines()) == 1
    told = written.last
    assert told.pop("time").endswith("+00:00")
    assert told == {"level": "WARNING", "logger": "tests.logs", "message": "3 orders\nwait"}


def test_what_is_bound_stands_beside_whatever_is_logged_meanwhile(written: Written) -> None:
    with bound(job="audit", run=7), bound(stage="pay"):
        log.warning("inside")
    log.warning("outside")

    inside, outside = written.lines
    assert {k: inside[k] for k in ("job", "run", "stage")} == {
        "job": "audit",
        "run": 7,
        "stage": "pay",
    }
    assert not {"job", "run", "stage"} & outside.keys()


def test_a_field_that_is_a_function_is_asked_only_when_something_is_logged(
    written: Written,
) -> None:
    asked = []

    with bound(orders=lambda: asked.append(1) or [1, 2]):
        before = list(asked)
        log.warning("now")

    assert (before, asked, written.last["orders"]) == ([], [1], [1, 2])


def test_a_field_that_a_client_chose_is_redacted_too(written: Written) -> None:
    with bound(request=CARD.replace(" ", "")):
        log.warning("asked")

    assert written.last["request"] == "(card number)"


def test_a_trace_is_told_as_two_ids(written: Written) -> None:
    with tracing.within(TRACE):
        log.warning("traced")

    told = written.last
    assert told["trace_id"] == "0af7651916cd43dd8448eb211c80319c"
    assert told["span_id"] == "b7ad6b7169203331"


@pytest.mark.parametrize(
    "secret", [CARD, SECRET, "password=hunter22", "Bearer abcdefghijkl", "whsec_c2VjcmV0c2VjcmV0"]
)
def test_nothing_secret_is_in_it_wherever_it_stood(written: Written, secret: str) -> None:
    def fail() -> None:
        raise ValueError(f"can't read {secret}")

    log.error("got %s", secret)
    log.error("got", extra={"card": secret})
    try:
        fail()
    except ValueError:
        log.exception("no", stack_info=True)

    assert secret not in written.stream.getvalue()
    assert "can't read" in written.last["exception"]
    assert written.last["stack"]


def test_fields_that_somebody_else_put_on_a_record_are_left_out(written: Written) -> None:
    log.error("extra", extra={"customer": "ada@example.com"})

    assert "ada" not in written.stream.getvalue()


@pytest.mark.parametrize("letter", ["x", "é", "\U0001f600", "\0", '"'])
def test_a_line_is_of_bounded_length_and_keeps_the_end_of_an_error(
    written: Written, letter: str
) -> None:
    try:
        raise ValueError(letter * 100_000 + " the end")
    except ValueError:
        log.exception("begin %s end", letter * 100_000)

    [line] = written.stream.getvalue().splitlines()
    assert len(line.encode()) <= MOST_BYTES
    told = json.loads(line)
    assert told["message"].startswith("begin")
    assert told["message"].endswith("end")
    assert told["exception"].endswith("the end")


def test_what_is_no_text_for_json_is_written_all_the_same() -> None:
    record = log.makeRecord(log.name, logging.ERROR, "", 0, "half a pair: \ud800", (), None)

    told = json.loads(JsonFormatter().format(record))

    assert told["message"].startswith("half a pair: ")


# --- What processes bind ------------------------------------------------------------------------------


def _fail_in(stage: type, monkeypatch: pytest.MonkeyPatch) -> None:
    def settle(*_: Any) -> Any:
        raise RuntimeError(f"card {CARD}")

    monkeypatch.setattr(stage, "settle", settle)


def test_a_stage_that_fails_is_logged_with_its_orders_and_dispatches(
    mill: Callable[..., Mill], written: Written, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop = mill().stocked()
    receipts = shop.intake.accept_all(shop.source, [an_order() for _ in range(MOST_ORDERS + 5)])
    _fail_in(Pay, monkeypatch)

    shop.engine.work("validate")

    told = next(line for line in written.lines if "exception" in line)
    assert told["stage"] == "pay"
    assert told["orders"] == sorted(r.order_id or 0 for r in receipts)[:MOST_ORDERS]
    assert told["batch_size"] == MOST_ORDERS + 5
    assert len(told["dispatches"]) == 1
    assert CARD not in written.stream.getvalue()


def test_an_order_that_stands_alone_is_logged_with_its_trace(
    mill: Callable[..., Mill], written: Written, monkeypatch: pytest.MonkeyPatch
) -> None:
    shop = mill().stocked()
    _fail_in(Pay, monkeypatch)
    with tracing.within(TRACE):
        order = shop.intake.accept(shop.source, an_order()).order_id

    shop.engine.work("validate")

    told = next(line for line in written.lines if "exception" in line)
    assert told["orders"] == [order]
    assert told["trace_id"] == TRACE.split("-")[1]


# --- The setting --------------------------------------------------------------------------------------


@pytest.mark.parametrize("form", ["text", "json"])
def test_a_process_logs_in_the_form_that_is_set_and_redacts_in_either(
    form: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    root, stream = logging.getLogger(), io.StringIO()
    monkeypatch.setattr(root, "handlers", [])
    monkeypatch.setattr(root, "level", root.level)
    monkeypatch.setattr(sys, "stderr", stream)
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)

    configure_logging(Settings(_env_file=None, log_format=form, stripe_key=SECRET))
    log.warning("key %s, card %s", SECRET, CARD)

    [line] = stream.getvalue().splitlines()
    assert SECRET not in line
    assert CARD not in line
    assert HIDDEN in line
    assert line.startswith("{") == (form == "json")


def test_a_form_that_there_is_not_is_refused_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ORDERMILL_LOG_FORMAT", "xml")

    with pytest.raises(Exception, match=r"ORDERMILL_LOG_FORMAT.*'text' or 'json'"):
        load_settings()


def test_text_stays_as_it_was() -> None:
    assert logs.formatter("text")._fmt == "%(asctime)s %(levelname)-7s %(name)s: %(message)s"
