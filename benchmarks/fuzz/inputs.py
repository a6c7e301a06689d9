"""Inputs by number: the same number under the same seed is the same input."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

from benchmarks.fuzz.server import MESSAGES

#: Texts that harm patterns, tables or screens when they are repeated.
PIECES = (
    "://:", "://a:b", "4 ", "4242 ", "1-", "4242424242424242 ", "a@", "a@b.", ".", '"', "\\", "'",
    "=?utf-8?q?=0d=0a?=", "password=", "password='", "x_secret_", "pi_", "sk_live_", "Bearer ",
    "\u0000", "\u202e", "\u2460", "\U0001f3f4\U000e0067", "\ud800", "é", "\r\n", " ", "\t", "0", "a",
    "a-", "a_", "<b>", "{{7*7}}", "../", "%00", "=1+1,", "[", "{", "*", "&a ", "-", "e9", "ﬃ", "٣",
)  # fmt: skip
VALUES: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 2**63, 10**300, -(2**70), 0.1, 1e308, "", " ", "0", "-0", "1e9",
    "12.50", "999999999999.9999", "DE", "EUR", "2026-11-30T10:00:00Z", "9999-12-31T23:59:59-23:59",
    [], {}, [[]], [None], {"": ""}, {"a": {"b": {"c": []}}}, "NaN", "null", "<script>", "=cmd|' /C'!A0",
)  # fmt: skip
JSON = "application/json"
NDJSON = "application/x-ndjson"
PATHS = (
    "/healthz", "/readyz", "/v1/orders", "/v1/orders/1", "/v1/orders/1/events", "/v1/events",
    "/v1/products", "/v1/stock", "/v1/webhooks", "/console/", "/console/orders", "/console/sign-in",
    "/metrics", "/openapi.json", "/v1/nothing", "/%00", "/v1/orders?cursor=x", "/v1/orders?limit=9e9",
)  # fmt: skip
HEADERS = (
    "Cookie", "Authorization", "X-Request-Id", "traceparent", "Accept", "Origin", "Referer",
    "X-Forwarded-For", "X-Forwarded-Proto", "If-Match", "If-None-Match", "Idempotency-Key", "Range",
    "Content-Type", "Content-Encoding", "Transfer-Encoding", "Content-Length", "Expect", "Upgrade",
    "Connection", "Host", "User-Agent", "Sec-Fetch-Site", "X-A",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Input:
    """A request as it is sent, without the headers for its key and its id."""

    kind: str
    what: str
    method: str
    path: str
    headers: tuple[tuple[bytes, bytes], ...]
    body: bytes


def made(seed: int, number: int) -> Input:
    """The input with that number."""
    rng = random.Random(f"{seed} {number}")
    kind = rng.choices(list(_KINDS), weights=[6, 2, 1, 2])[0]
    return _KINDS[kind](rng, number)


def an_order(number: int) -> dict[str, Any]:
    return {
        "external_id": f"fuzz-{number}",
        "currency": "EUR",
        "customer": {
            "email": f"c{number}@example.com",
            "name": "Ada Lovelace",
            "id": f"c-{number}",
        },
        "ship_to": {"country": "DE", "postal_code": "10115", "city": "Berlin", "street": "Weg 1"},
        "lines": [{"sku": "MUG-01", "quantity": 1}, {"sku": "TEE-02", "quantity": 2}],
        "payment": {"method": "pm_card_visa"},
        "coupons": [],
        "metadata": {"channel": "web", "note": "leave it at the door"},
    }


def text(rng: random.Random) -> str:
    """One or two pieces over and over, mostly short, at times a megabyte."""
    size = int(10 ** rng.choices([rng.uniform(0, 3), rng.uniform(3, 4.7), rng.uniform(4.7, 6.2)],
                                 weights=[90, 9.5, 0.5])[0])  # fmt: skip
    piece = "".join(rng.choices(PIECES, k=rng.choice((1, 1, 1, 2, 3))))
    return (
        rng.choice(("", "", "x", "-")) + piece * max(1, size // len(piece)) + rng.choice(("", "x"))
    )


def value(rng: random.Random) -> Any:
    return text(rng) if rng.random() < 0.6 else deepcopy(rng.choice(VALUES))


def mutated(rng: random.Random, order: dict[str, Any]) -> tuple[Any, str]:
    """`order` with a few things changed, and what was done."""
    done = []
    for _ in range(rng.choice((1, 1, 2, 3))):
        change = rng.choice(_CHANGES)
        change(rng, order)
        done.append(change.__name__.strip("_"))
    return order, ", ".join(done)


def _nodes(found: Any) -> list[Any]:
    inner = found.values() if isinstance(found, dict) else found if isinstance(found, list) else ()
    own = [found] if isinstance(found, dict | list) and found else []
    return own + [node for each in list(inner)[:50] for node in _nodes(each)]


def _replaced(rng: random.Random, order: Any) -> None:
    if nodes := _nodes(order):
        node = rng.choice(nodes)
        node[rng.choice(list(node)) if isinstance(node, dict) else 0] = value(rng)


def _removed(rng: random.Random, order: Any) -> None:
    if nodes := _nodes(order):
        node = rng.choice(nodes)
        del node[rng.choice(list(node)) if isinstance(node, dict) else 0]


def _named(rng: random.Random, order: Any) -> None:
    if nodes := [node for node in _nodes(order) if isinstance(node, dict)]:
        rng.choice(nodes)[text(rng)[:2_000]] = value(rng)


def _crowded(rng: random.Random, order: Any) -> None:
    if nodes := [node for node in _nodes(order) if isinstance(node, dict)]:
        many = rng.choice((5, 90, 150, 3_000, 20_000 if rng.random() < 0.1 else 10))
        node, given = rng.choice(nodes), value(rng) if many < 10 else rng.choice(VALUES)
        node.update((f"x{n}", deepcopy(given)) for n in range(many))


def _long(rng: random.Random, order: Any) -> None:
    many = rng.choice((2, 50, 500, 3_000, 10_001 if rng.random() < 0.2 else 20))
    lines = order.get("lines")
    wrong: Any = rng.choice(({}, [], {"sku": "MUG-01", "quantity": 1}, {"sku": 1}, None, {"a": 1}))
    order["lines"] = (lines if isinstance(lines, list) else []) + [
        deepcopy(wrong) for _ in range(many)
    ]


_CHANGES: tuple[Callable[[random.Random, Any], None], ...] = (
    _replaced, _replaced, _replaced, _removed, _named, _crowded, _long,
)  # fmt: skip


def _encoded(rng: random.Random, found: Any) -> bytes:
    """As JSON; at times with bytes changed, cut off, or deeper than anybody reads."""
    written = json.dumps(found, ensure_ascii=rng.random() < 0.5).encode("utf-8", "surrogatepass")
    kind = rng.random()
    if kind < 0.1:
        at = rng.randrange(len(written))
        written = (
            written[:at] + rng.randbytes(rng.randrange(1, 9)) + written[at + rng.randrange(9) :]
        )
    elif kind < 0.13:
        written = written[: rng.randrange(len(written))]
    elif kind < 0.15:
        written = rng.choice((b"[", b'{"a":')) * rng.choice((40, 2_000, 200_000)) + written
    return written[:2_100_000]


def _document(rng: random.Random, number: int) -> Input:
    order, what = mutated(rng, an_order(number))
    path = rng.choice(("/v1/orders", "/v1/orders", "/v1/orders", "/v1/quotes"))
    return Input("document", what, "POST", path, ((b"Content-Type", JSON.encode()),),
                 _encoded(rng, order))  # fmt: skip


def _file(rng: random.Random, number: int) -> Input:
    lines, done = [], []
    for n in range(rng.choice((1, 2, 5, 20))):
        order, what = mutated(rng, an_order(number * 100 + n))
        lines.append(_encoded(rng, order))
        done.append(what)
    body = rng.choice((b"\n", b"\n", b"\n", b"\r\n", b"\n\n\n", b"\r")).join(lines)
    return Input("file", "; ".join(done), "POST", "/v1/orders/batch",
                 ((b"Content-Type", NDJSON.encode()),), body[:6_000_000])  # fmt: skip


def _message(rng: random.Random, number: int) -> Input:
    orders, done = [], []
    for n in range(rng.choice((1, 1, 3))):
        order, what = mutated(rng, an_order(number * 100 + n))
        orders.append(order if rng.random() < 0.9 else value(rng))
        done.append(what)
    source = "shop" if rng.random() < 0.9 else text(rng)
    # A broker's messages are JSON that can be written as UTF-8.
    body = json.dumps({"source": source, "orders": orders}).encode()
    return Input(
        "message", "; ".join(done), "POST", MESSAGES, ((b"Content-Type", JSON.encode()),), body
    )


def _header_set(rng: random.Random, number: int) -> Input:
    headers = []
    for _ in range(rng.choice((1, 2, 4, 30))):
        name = rng.choice(HEADERS) if rng.random() < 0.9 else text(rng)[:200]
        given = text(rng)[: rng.choice((20, 200, 8_000, 60_000))]
        form = rng.choice(
            ("{}", "{}", 'a="{}"', "Bearer {}", 'ordermill="{}"', "00-{}-01", 'W/"{}"')
        )
        headers.append(
            (name.encode("utf-8", "replace"), form.format(given).encode("utf-8", "replace"))
        )
    method = rng.choice(("GET", "GET", "GET", "POST", "HEAD", "DELETE", "PUT", "OPTIONS"))
    names = ", ".join(sorted({name[:20].decode("utf-8", "replace") for name, _ in headers}))
    return Input("header set", names, method, rng.choice(PATHS), tuple(headers), b"")


_KINDS: dict[str, Callable[[random.Random, int], Input]] = {
    "document": _document, "header set": _header_set, "file": _file, "message": _message,
}  # fmt: skip
