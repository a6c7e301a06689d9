"""The examples in docs/examples, run as they stand, in each language against a live server."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import playwright
import pytest
from ordermill_client import Client

from client.tests.conftest import turning
from tests.support import Mill
from tests.web.conftest import MakeKey

ROOT = Path(__file__).parents[2]
EXAMPLES = ROOT / "docs" / "examples"
#: Playwright, which the console's tests need, comes with a Node of its own.
NODE = Path(str(playwright.__file__)).parent / "driver" / "node"
COMMANDS = {
    "place_order.sh": ["sh"],
    "place_order.mjs": [str(NODE)],
    "place_order.py": [sys.executable],
}


def command(example: str, url: str, *more: str) -> list[str]:
    return [*COMMANDS[example], str(EXAMPLES / example), url, *more]


def environment(key: str) -> dict[str, str]:
    return {**os.environ, "KEY": key, "PYTHONPATH": str(ROOT / "client")}


def test_the_page_s_examples_run(url: str, make_key: MakeKey, shop: Mill) -> None:
    page = (ROOT / "client" / "README.md").read_text(encoding="utf-8")
    blocks = re.findall(r"^```python\n(.*?)^```", page, re.DOTALL | re.MULTILINE)
    names: dict[str, Any] = {"URL": url, "KEY": make_key()}

    with turning(shop):
        for block in blocks:
            exec(block, names)

    assert len(blocks) == 7
    assert (names["settled"].status, names["verdict"].verdict) == ("confirmed", "duplicate")
    names["client"].close()


def the_readme_s_order() -> dict[str, object]:
    page = (ROOT / "README.md").read_text(encoding="utf-8")
    [first, *_] = re.findall(r"curl -s \S+/v1/orders .* -d '(.*)'", page)
    found: dict[str, object] = json.loads(first)
    return found


@pytest.mark.parametrize("example", COMMANDS)
def test_an_example_places_the_readme_s_order_follows_it_and_streams_many(
    url: str, make_key: MakeKey, shop: Mill, example: str
) -> None:
    key = make_key()

    with turning(shop):
        done = subprocess.run(
            command(example, url), env=environment(key), capture_output=True, text=True, timeout=60
        )

    assert (done.returncode, done.stderr) == (0, "")
    told = done.stdout.splitlines()
    assert "web-2001" in told[0]
    assert "accepted" in told[0]
    assert "confirmed" in told[1]
    assert ["accepted" in line for line in told[2:6]] == [True] * 4
    with Client(url, key) as client:
        again = client.place(the_readme_s_order())
    assert (again.verdict, again.status) == ("duplicate", "confirmed")
    assert shop.query("SELECT count(*) FROM orders") == [(5,)]


def test_in_node_verdicts_come_while_orders_are_still_drawn(
    url: str, make_key: MakeKey, shop: Mill, tmp_path: Path
) -> None:
    orders = tmp_path / "orders"
    os.mkfifo(orders)
    first, second, *_ = (EXAMPLES / "orders.jsonl").read_text(encoding="utf-8").splitlines(True)

    with turning(shop), subprocess.Popen(
        command("place_order.mjs", url, str(orders)), env=environment(make_key()),
        stdout=subprocess.PIPE, text=True,
    ) as node:  # fmt: skip
        assert node.stdout is not None
        with orders.open("w", encoding="utf-8", buffering=1) as sending:
            sending.write(first)
            told = [node.stdout.readline() for _ in range(3)]
            sending.write(second)
        rest = node.stdout.read()

    assert told[2] == "line 1: web-1001 accepted\n"
    assert rest == "line 2: web-1002 accepted\n"
    assert node.returncode == 0


def test_in_node_what_is_refused_says_why(url: str, make_key: MakeKey, shop: Mill) -> None:
    done = subprocess.run(
        command("place_order.mjs", url),
        env=environment("om_live_x"),
        capture_output=True,
        text=True,
    )

    assert done.returncode == 1
    assert "a key that is valid" in done.stderr
