"""Draw bench.json as bars. Runs in the peers' venv: python plot.py bench.json bench.png"""

import json
import sys
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

OURS_COLOUR, OTHERS_COLOUR = "#c2410c", "#64748b"


def draw(contestants: list[dict[str, Any]], target: Path) -> None:
    """Orders a second on a log scale, slowest at the bottom, each bar with its range."""
    ranked = sorted(contestants, key=lambda each: each["orders_per_second"])
    rates = [each["orders_per_second"] for each in ranked]
    below = [each["orders_per_second"] - each["slowest"] for each in ranked]
    above = [each["fastest"] - each["orders_per_second"] for each in ranked]
    figure = Figure(figsize=(9, 0.6 * len(ranked) + 1.4), layout="tight")
    axes = figure.subplots()
    bars = axes.barh(
        [each["name"] for each in ranked],
        rates,
        color=[_colour(each["name"]) for each in ranked],
        xerr=[below, above],
        error_kw={"ecolor": "#1e293b", "capsize": 3},
    )
    axes.bar_label(bars, labels=[f"{rate:,.0f}" for rate in rates], padding=6)
    axes.set_xscale("log")
    axes.set_xlim(left=1, right=max(rates) * 3)
    axes.set_xlabel("orders completed a second (log scale)")
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(target, dpi=150)


def _colour(name: str) -> str:
    return OURS_COLOUR if name == "ordermill" else OTHERS_COLOUR


if __name__ == "__main__":
    source, target = (Path(argument) for argument in sys.argv[1:3])
    draw(json.loads(source.read_text())["contestants"], target)
