"""The same figures twice: a table for the reader, JSON for the docs and the chart."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any

from rich.box import SIMPLE
from rich.table import Table

from benchmarks.contestants import OURS
from benchmarks.race import Measurement


@dataclass(frozen=True)
class Line:
    """What one contestant did. Rates are the median, lowest and highest of all rounds."""

    name: str
    orders: int
    rounds: int
    orders_per_second: float
    slowest: float
    fastest: float
    peak_rss_mb: float | None
    latency_ms: dict[str, float] | None
    settings: dict[str, Any]


def line(name: str, rounds: Sequence[Measurement], latency: Measurement | None) -> Line:
    rates = [each["orders_per_second"] for each in rounds]
    peaks = [each["peak_rss_mb"] for each in rounds if each["peak_rss_mb"] is not None]
    return Line(
        name=name,
        orders=rounds[0]["orders"],
        rounds=len(rounds),
        orders_per_second=round(median(rates), 1),
        slowest=min(rates),
        fastest=max(rates),
        peak_rss_mb=max(peaks, default=None),
        latency_ms=latency["latency_ms"] if latency else None,
        settings=rounds[0]["settings"],
    )


def as_json(
    lines: Sequence[Line],
    machine: dict[str, Any],
    servers: dict[str, str],
    raw: Sequence[Measurement],
    pricing: dict[str, Any],
) -> dict[str, Any]:
    return {
        "machine": machine,
        "servers": servers,
        "contestants": [asdict(each) for each in lines],
        "pricing": pricing,
        "measurements": list(raw),
    }


def as_table(lines: Sequence[Line], servers: Mapping[str, str]) -> Table:
    """Rates with their lowest and highest round; all settings stand below, a line each."""
    caption = "\n".join(
        [f"servers, fresh for each: {_named(servers)}"]
        + [f"{each.name}: {_named(each.settings)}" for each in lines]
    )
    title = "Orders completed a second; milliseconds from accepted to confirmed; peak memory"
    table = Table(title=title, caption=caption, caption_justify="left", box=SIMPLE, padding=0)
    table.add_column("", no_wrap=True)
    for heading in ("orders/s", "from", "to", "of ours", "p50", "p95", "p99", "MB"):
        table.add_column(heading, justify="right", no_wrap=True)
    ours = next((each.orders_per_second for each in lines if each.name == OURS), None)
    for each in lines:
        table.add_row(*_cells(each, ours))
    return table


def _cells(line: Line, ours: float | None) -> list[str]:
    latency = line.latency_ms or {}
    return [
        line.name,
        _number(line.orders_per_second),
        _number(line.slowest),
        _number(line.fastest),
        "-" if ours is None else f"{line.orders_per_second / ours:.3g}",
        *(_number(latency.get(cut)) for cut in ("p50", "p95", "p99")),
        _number(line.peak_rss_mb),
    ]


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:,.0f}"


def _named(settings: Mapping[str, object]) -> str:
    return ", ".join(f"{name.replace('_', ' ')} {value}" for name, value in settings.items())
