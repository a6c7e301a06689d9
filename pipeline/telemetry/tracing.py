"""Traces in OpenTelemetry: one an order, from the request that placed it to its last stage.

An order's trace is a W3C traceparent that is stored with it, taken over from the request or made when
it is accepted. Batches take many orders through a stage at once, so what an order sees of a stage is
told after the fact: a span in its own trace, with a link to the batch's. An order without a trace, or
whose trace nobody samples, costs nothing.

Off unless the standard variables ask for it (`configure`), and then each call here is one `if`.
"""

from __future__ import annotations

import logging
import os
import re
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from importlib.metadata import entry_points
from typing import Any

from pipeline.errors import ConfigurationError

log = logging.getLogger(__name__)

#: Of the provider in use. Where there is none, nothing of OpenTelemetry's is imported.
_tracer: Any = None

#: The traceparent that what goes on here belongs to, where no span of ours says so.
_given: ContextVar[str | None] = ContextVar("traceparent", default=None)

_TRACEPARENT = re.compile(r"00-(?!0{32})[0-9a-f]{32}-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}")


def is_traceparent(text: str) -> bool:
    """Whether it has the form of version 00 of W3C Trace Context."""
    return _TRACEPARENT.fullmatch(text) is not None


@contextmanager
def within(traceparent: str | None) -> Iterator[None]:
    """What is done in the block belongs to that trace (None: to whichever it did)."""
    token = None if traceparent is None else _given.set(traceparent)
    try:
        yield
    finally:
        if token is not None:
            _given.reset(token)


def current() -> str | None:
    """The traceparent of what goes on here."""
    given = _given.get()
    if given is not None or _tracer is None:
        return given
    from opentelemetry.trace import get_current_span

    return _written(get_current_span().get_span_context())


@contextmanager
def request(method: str, traceparent: str | None) -> Iterator[Any]:
    """A request that is served in the block; its span, to be named once its route is known, or None.
    A `traceparent` that it bears is honoured, and where we trace nothing it is at least kept."""
    found = traceparent if traceparent is not None and is_traceparent(traceparent) else None
    if _tracer is None:
        with within(found):
            yield None
        return
    from opentelemetry.trace import SpanKind

    with _tracer.start_as_current_span(
        method, context=_context(found), kind=SpanKind.SERVER, **_WITHOUT_TEXTS
    ) as span:
        yield span


def name_request(span: Any, method: str, route: str, status: int) -> None:
    """Say what a request was, once that is known."""
    span.update_name(f"{method} {route}")
    span.set_attributes(
        {"http.request.method": method, "http.route": route, "http.response.status_code": status}
    )
    if status >= 500:
        _fail(span, str(status))


def accepted(order_id: int, source: str) -> str | None:
    """Begin the trace of an order that came without one, in a file or a stream: a span to start from,
    linked to what it came in. Its traceparent; None if nobody samples it."""
    if _tracer is None:
        return None
    attributes = {"ordermill.order.id": order_id, "ordermill.source": source}
    span = _tracer.start_span(
        "accept", context=_context(None), links=_links([current()]), attributes=attributes
    )
    span.end()
    made = _written(span.get_span_context())
    return made if _is_sampled(made) else None


@dataclass(frozen=True, slots=True)
class Told:
    """What a stage has to tell in an order's own trace; `error`, in a word, if it went wrong."""

    traceparent: str
    attributes: Mapping[str, str | int]
    error: str | None = None


class BatchSpan:
    """A batch's span, and how its orders are told of it."""

    def __init__(self, step: str, span: Any) -> None:
        self._step = step
        self._span = span
        self._began = time.time_ns()

    def tell(self, told: Iterable[Told]) -> None:
        """Write what became of the orders into their own traces."""
        link = [_link(self._span.get_span_context())]
        for each in told:
            span = _tracer.start_span(
                self._step, context=_context(each.traceparent), links=link,
                attributes=each.attributes, start_time=self._began,
            )  # fmt: skip
            if each.error is not None:
                _fail(span, each.error)
            span.end()

    def fail(self, error: str) -> None:
        _fail(self._span, error)


@contextmanager
def batch(step: str, traceparents: Callable[[], Sequence[str]]) -> Iterator[BatchSpan | None]:
    """A batch that is taken through a step in the block, as a span with links to its orders' traces,
    as many as the SDK allows (128, or OTEL_SPAN_LINK_COUNT_LIMIT). None if nothing is traced."""
    parents = [] if _tracer is None else [each for each in traceparents() if _is_sampled(each)]
    if not parents:
        yield None
        return
    from opentelemetry.trace import SpanKind

    with _tracer.start_as_current_span(
        f"batch {step}", context=_context(None), kind=SpanKind.CONSUMER, links=_links(parents),
        **_WITHOUT_TEXTS,
    ) as span:  # fmt: skip
        made = BatchSpan(step, span)
        try:
            yield made
        except BaseException as error:  # only to be told; it is raised again
            made.fail(type(error).__name__)
            raise


@contextmanager
def call(name: str, attributes: Mapping[str, str]) -> Iterator[Callable[[str], None]]:
    """Somebody is asked in the block, for what goes on here; say what he answered, in a word."""
    parent = None if _tracer is None else current()
    if not _is_sampled(parent):
        yield lambda answer: None
        return
    from opentelemetry.trace import SpanKind

    with _tracer.start_as_current_span(
        name, context=_context(parent), kind=SpanKind.CLIENT, attributes=attributes,
        **_WITHOUT_TEXTS,
    ) as span:  # fmt: skip
        yield lambda answer: span.set_attribute("ordermill.answer", answer)


#: An error's text may quote what somebody sent: it is for the log, which redacts.
_WITHOUT_TEXTS = {"record_exception": False, "set_status_on_exception": False}


def is_on() -> bool:
    return _tracer is not None


def use(provider: Any) -> None:
    """Trace by this provider of OpenTelemetry's from now on; None: not at all."""
    global _tracer
    _tracer = None if provider is None else provider.get_tracer("ordermill")


@contextmanager
def configured(role: str) -> Iterator[None]:
    """While the block runs, trace if the standard variables of OpenTelemetry say so; at its end, send
    what is left. Sampler, limits, resource and exporters are read from them by the SDK itself."""
    names = _exporters(os.environ)
    provider = _provider_of(role, names) if names else None
    use(provider)
    try:
        yield
    finally:
        use(None)
        if provider is not None:
            provider.shutdown()


def _exporters(environment: Mapping[str, str]) -> list[str]:
    """Names as in OTEL_TRACES_EXPORTER. Its default is `otlp`; but who has never heard of it is not
    sent spans to, so that has to be asked for by naming it, or an endpoint."""
    if environment.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return []
    endpoints = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
    default = "otlp" if any(environment.get(name) for name in endpoints) else "none"
    asked = environment.get("OTEL_TRACES_EXPORTER") or default
    return [name for each in asked.split(",") if (name := each.strip()) not in ("", "none")]


def _provider_of(role: str, names: Sequence[str]) -> Any:
    try:
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ModuleNotFoundError as error:
        log.warning(
            "OTEL_… asks for traces, but %s is not installed, so there are none; "
            "install the extra: pip install 'ordermill[otel]'",
            error.name,
        )
        return None
    named = {} if os.environ.get("OTEL_SERVICE_NAME") else {"service.name": f"ordermill-{role}"}
    provider = TracerProvider(resource=Resource.create(named))
    for name in names:
        provider.add_span_processor(BatchSpanProcessor(_exporter(name)))
    return provider


def _exporter(name: str) -> Any:
    """The exporter that is installed under that name; ConfigurationError if none is."""
    if name == "otlp":
        keys = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")
        protocol = next(filter(None, map(os.environ.get, keys)), "http/protobuf")
        name = "otlp_proto_grpc" if protocol == "grpc" else "otlp_proto_http"
    found = entry_points(group="opentelemetry_traces_exporter", name=name)
    if not found:
        raise ConfigurationError(
            f"OTEL_TRACES_EXPORTER: got {name}, expected an exporter that is installed; "
            "`otlp` over HTTP comes with the extra: pip install 'ordermill[otel]'"
        )
    return next(iter(found)).load()()


def _is_sampled(traceparent: str | None) -> bool:
    return traceparent is not None and int(traceparent[-2:], 16) & 1 == 1


def _context(traceparent: str | None) -> Any:
    """The context of a span whose parent is that one; a trace of its own without."""
    from opentelemetry.context import Context
    from opentelemetry.trace import NonRecordingSpan, set_span_in_context

    if traceparent is None:
        return Context()
    return set_span_in_context(NonRecordingSpan(_read(traceparent)), Context())


def _read(traceparent: str) -> Any:
    from opentelemetry.trace import SpanContext, TraceFlags

    _, trace_id, span_id, flags = traceparent.split("-")
    return SpanContext(int(trace_id, 16), int(span_id, 16), True, TraceFlags(int(flags, 16)))


def _written(context: Any) -> str | None:
    if not context.is_valid:
        return None
    return f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}"


def _link(context: Any) -> Any:
    from opentelemetry.trace import Link

    return Link(context)


def _links(traceparents: Iterable[str | None]) -> list[Any]:
    return [_link(_read(each)) for each in traceparents if each is not None]


def _fail(span: Any, error: str) -> None:
    from opentelemetry.trace import StatusCode

    span.set_status(StatusCode.ERROR, error)
