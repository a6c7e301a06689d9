"""What stands beside a message in the log: which orders, which stage, which request, which trace."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any, Literal

from pipeline.redaction import redact_start
from pipeline.telemetry import tracing

TEXT = "%(asctime)s %(levelname)-7s %(name)s: %(message)s"

#: Bytes of a line at most, and orders that one names.
MOST_BYTES = 16_384
MOST_ORDERS = 20

_Fields = dict[str, Any | Callable[[], Any]]
_fields: ContextVar[_Fields] = ContextVar("log_fields", default={})  # noqa: B039 - never changed


@contextmanager
def bound(**fields: Any | Callable[[], Any]) -> Iterator[None]:
    """Whatever is logged in the block bears these `fields`. One that is a function is asked
    when something is logged, which mostly nothing is. For ids and names: nobody's address, no secret."""
    token = _fields.set({**_fields.get(), **fields})
    try:
        yield
    finally:
        _fields.reset(token)


class JsonFormatter(logging.Formatter):
    """A record as a line of JSON; what a record bears that we don't know is left out."""

    def format(self, record: logging.LogRecord) -> str:
        """As in `Formatter`."""
        told: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        told |= {name: _value(field) for name, field in _fields.get().items()}
        trace = tracing.current()
        if trace is not None:
            _, told["trace_id"], told["span_id"], _ = trace.split("-")
        # `redaction.Redact` has made a text of the exception, as other handlers would.
        if record.exc_info and not record.exc_text:
            record.exc_text = self.formatException(record.exc_info)
        if record.exc_text:
            told["exception"] = record.exc_text
        if record.stack_info:
            told["stack"] = self.formatStack(record.stack_info)
        return _within(told)


def _value(field: Any) -> Any:
    value = field() if callable(field) else field
    return (
        redact_start(value, 1_000) if isinstance(value, str) else value
    )  # a request's id is its sender's


def _within(told: dict[str, Any]) -> str:
    """`told` as JSON, its texts cut in the middle until it is short enough: an error's beginning says
    what was done, its end what went wrong."""
    line = _json(told)
    for keep in (4_096, 1_024, 256):
        if len(line.encode("utf-8", "replace")) <= MOST_BYTES:
            break
        for name in ("message", "exception", "stack"):
            text = told.get(name, "")
            if len(text) > keep:
                told[name] = f"{text[: keep // 2]} (…) {text[-keep // 2 :]}"
        line = _json(told)
    return line


def _json(told: dict[str, Any]) -> str:
    return json.dumps(told, ensure_ascii=False, default=str, separators=(",", ":"))


class TextFormatter(logging.Formatter):
    """A record as a line, with what it is about in brackets behind it: orders, stage, request, job."""

    def __init__(self) -> None:
        super().__init__(TEXT)

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 - logging's name
        """As in `Formatter`."""
        line = super().formatMessage(record)
        fields = {name: _value(field) for name, field in _fields.get().items()}
        about = " ".join(f"{name}={_short(field)}" for name, field in fields.items())
        return f"{line} [{about}]" if about else line


def _short(value: Any) -> str:
    return ",".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def formatter(form: Literal["text", "json"]) -> logging.Formatter:
    """What puts records down in that form."""
    return JsonFormatter() if form == "json" else TextFormatter()
