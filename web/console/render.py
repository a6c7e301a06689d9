"""Templates, and how they write times, numbers and money."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import cache
from http import HTTPStatus
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from fastapi.responses import HTMLResponse, Response
from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from pipeline.money import to_text
from pipeline.redaction import redact
from web.console import charts

STATIC = Path(__file__).parent / "static"


def render(template: str, **context: Any) -> str:
    return _environment().get_template(template).render(**context)


def problem(status: int, detail: str, headers: dict[str, str] | None = None) -> Response:
    """A page that says what was wrong. `detail` goes to whoever asked: nothing secret."""
    title = HTTPStatus(status).phrase
    body = render("problem.html", title=title, status=status, detail=detail)
    return HTMLResponse(body, status, headers)


@cache
def _environment() -> Environment:
    made = Environment(
        loader=PackageLoader("web.console"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.filters |= {
        "n": number, "ago": ago, "at": at, "clock": clock, "money": money, "words": words,
        "query": query, "told": told, "json": _plain, "redact": redact,
    }  # fmt: skip
    made.globals |= {"static": static, "bars": charts.bars, "spark": charts.spark}
    return made


@cache
def static(name: str) -> str:
    """A file's address, another one whenever it changes: browsers may keep it for ever."""
    digest = hashlib.sha256((STATIC / name).read_bytes()).hexdigest()[:12]
    return f"/console/static/{name}?v={digest}"


def number(value: int | None) -> str:
    return "–" if value is None else f"{value:,}"


def ago(value: datetime | None) -> Markup:
    """How long ago, and the time itself for whoever asks. Live pages are rendered anew."""
    if value is None:
        return Markup("–")
    return _time(value, span((datetime.now(UTC) - value).total_seconds()))


def at(value: datetime | None) -> Markup:
    return Markup("–") if value is None else _time(value, f"{value.astimezone(UTC):%F %T}")


def clock(value: datetime) -> str:
    return f"{value.astimezone(UTC):%H:%M}"


def _time(value: datetime, shown: str) -> Markup:
    utc = value.astimezone(UTC)
    return Markup('<time datetime="{}" title="{}">{}</time>').format(
        utc.isoformat(), f"{utc:%F %T} UTC", shown
    )


def span(seconds: float) -> str:
    """A length of time in its largest unit but one: 45 s, 12 min, 3 h 20, 5 d."""
    if seconds < 0:
        return f"in {span(-seconds)}"
    whole = int(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min"
    if whole < 86_400:
        return f"{whole // 3600} h {whole % 3600 // 60:02}"
    return f"{whole // 86_400} d"


def money(minor: int | None, currency: str) -> str:
    return "–" if minor is None else f"{to_text(minor, currency)} {currency}"


def words(value: object) -> str:
    """A name of ours as words: on_hold → on hold."""
    return str(value).replace("_", " ")


def query(values: Mapping[str, Any]) -> str:
    """What is set of these, as a query string with its question mark."""
    given = {k: v for k, v in values.items() if v not in (None, "")}
    return f"?{urlencode(given)}" if given else ""


def told(detail: object) -> str:
    """A timeline's or a log's detail (JSON, or read already) in words."""
    if not detail:
        return ""
    read = json.loads(detail) if isinstance(detail, str) else detail
    if not isinstance(read, Mapping):
        return str(read)
    return ", ".join(f"{words(k)}: {_plain(v)}" for k, v in read.items())


def _plain(value: object) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
