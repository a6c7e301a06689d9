"""Charts as inline SVG, drawn here: bars of what came through, and above them what didn't."""

from __future__ import annotations

from markupsafe import Markup

from pipeline.overview import Series

WIDTH, HEIGHT = 600, 120


def bars(series: Series, label: str, width: int = WIDTH, height: int = HEIGHT) -> Markup:
    """`label` is what a screen reader says of it; the figures are in a table beside it."""
    most = max(1, *(a + b for a, b in zip(series.through, series.failed, strict=True)))
    step = width / len(series.at)
    wide = max(1.0, step - (1.5 if step > 4 else 0.5))
    drawn = []
    for place, (through, failed) in enumerate(zip(series.through, series.failed, strict=True)):
        x, bottom = place * step, float(height)
        for kind, orders in (("through", through), ("failed", failed)):
            if orders:
                high = max(1.5, orders / most * (height - 2))
                bottom -= high
                drawn.append(_bar(kind, x, bottom, wide, high))
    drawn.append(
        Markup('<line class="base" x1="0" x2="{}" y1="{}" y2="{}"/>').format(
            width, height - 0.5, height - 0.5
        )
    )
    return Markup(
        '<svg class="bars" viewBox="0 0 {} {}" preserveAspectRatio="none" role="img" '
        'aria-label="{}">{}</svg>'
    ).format(width, height, label, Markup("").join(drawn))


def spark(series: Series, label: str) -> Markup:
    """The same, small enough for a row of a table."""
    return bars(series, label, 120, 24)


def _bar(kind: str, x: float, y: float, wide: float, high: float) -> Markup:
    return Markup('<rect class="{}" x="{}" y="{}" width="{}" height="{}"/>').format(
        kind, round(x, 1), round(y, 1), round(wide, 1), round(high, 1)
    )
