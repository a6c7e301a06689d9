"""What docs/webhooks.md says is so: its examples verify, and it names every type."""

from __future__ import annotations

import json
import re
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from pipeline.webhooks.signing import Signer
from pipeline.webhooks.types import TYPES, USUAL, type_of

PAGE = (Path(__file__).parents[2] / "docs" / "webhooks.md").read_text("utf-8")
BODY = '{"type":"order.confirmed","data":{"external_id":"web-münchen"}}'


def example(language: str) -> str:
    [code] = re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)
    return str(code)


def signed() -> tuple[str, dict[str, str]]:
    """A secret that was rotated from, and the headers of a webhook meanwhile."""
    signer = Signer("master")
    return signer.secret("old"), signer.headers(["new", "old"], "evt_1_6", BODY)


def broken(headers: dict[str, str]) -> list[tuple[dict[str, str], str]]:
    """Forged, of another id, and old."""
    old = {**headers, "webhook-timestamp": str(int(time.time()) - 600)}
    return [
        (headers, BODY.replace("web-", "wEb-")),
        ({**headers, "webhook-id": "evt_1_7"}, BODY),
        (old, BODY),
        ({**headers, "webhook-signature": "v1,"}, BODY),
    ]


def test_the_example_in_python_verifies() -> None:
    space: dict[str, Any] = {}
    exec(example("python"), space)
    secret, headers = signed()

    assert space["verify"](secret, headers, BODY.encode())["type"] == "order.confirmed"
    for wrong, body in broken(headers):
        with pytest.raises(Exception, match=r"signature|too old"):
            space["verify"](secret, wrong, body.encode())


def test_the_example_in_node_verifies(tmp_path: Path) -> None:
    secret, headers = signed()
    calls = [(headers, BODY), *broken(headers)]
    (tmp_path / "verify.mjs").write_text(example("js"), "utf-8")
    (tmp_path / "main.mjs").write_text(
        """
import { readFileSync } from "node:fs";
import { verify } from "./verify.mjs";

const [secret, calls] = JSON.parse(readFileSync(0, "utf8"));
const said = calls.map(([headers, body]) => {
  try { return verify(secret, headers, Buffer.from(body)).type; } catch (error) { return error.message; }
});
console.log(JSON.stringify(said));
""",
        "utf-8",
    )

    ran = subprocess.run(
        ["node", tmp_path / "main.mjs"], input=json.dumps([secret, calls]), text=True,
        capture_output=True, check=True, timeout=30,
    )  # fmt: skip

    no = "not signed by Ordermill"
    assert json.loads(ran.stdout) == ["order.confirmed", no, no, "too old", no]


def test_every_type_is_named_and_the_usual_ones_as_such() -> None:
    named = set(re.findall(r"`(order\.[a-z_]+)`", PAGE))
    [usual] = re.findall(r"^\| usual \| (.*) \|$", PAGE, re.MULTILINE)

    assert named == set(TYPES)
    assert re.findall(r"`([^`]+)`", usual) == list(USUAL)


@pytest.mark.parametrize(
    ("event", "expected"),
    [
        (("received", None, "received"), "order.received"),
        (("advanced", "reserved", "confirmed"), "order.confirmed"),
        (("retried", "paid", "backordered"), "order.backordered"),
        (("retried", "paid", "paid"), "order.retried"),
        (("held", "priced", "on_hold"), "order.on_hold"),
        (("requeued", "on_hold", "priced"), "order.requeued"),
        (("rejected", "paid", "cancelling"), "order.cancelling"),
        (("undone", "cancelling", "cancelled"), "order.cancelled"),
        (("shipped", "confirmed", "confirmed"), "order.shipped"),
    ],
)
def test_a_move_is_called_by_where_it_leads_and_all_else_by_its_kind(
    event: tuple[str, str | None, str | None], expected: str
) -> None:
    assert type_of(*event) == expected
