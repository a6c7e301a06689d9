"""A proxy in front of localstripe: as strict as Stripe where that one is lax, and faulty on demand.

Strict: idempotency keys (answers are saved and repeated, other parameters under a key refused),
one capture of what is authorized and not voided, refunds up to what was captured, amounts as its
page on currencies has them (docs.stripe.com/currencies); lists filtered and newest first; and the fields, parameters and disputes that localstripe knows nothing of.

Faulty: `proxy.fault(...)` says what goes wrong with the next request that changes something.
"""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any, Literal
from urllib.parse import parse_qsl

from aiohttp import ClientSession, web

Fault = Literal[
    "swallow",  # done; the connection is cut instead of an answer
    "hang",  # done; no answer, ever
    "garbage",  # done; the answer is no JSON
    "nonsense",  # done; the answer is JSON, and not Stripe's
    "error_after",  # done; 500, and the next of the key is told of what was done
    "saved_error_after",  # done; 500, saved under the key
    "saved_error",  # not done; 500, saved under the key
    "error",  # not done; 500, not saved
    "unavailable",  # not done; 503 from something before Stripe, in HTML
    "rate_limited",  # not done; 429
    "reset",  # not done; the connection is cut
    "hang_before",  # not done; no answer, ever
]
RETRY_AFTER = 7
#: Parameters of Stripe's that localstripe refuses.
_UNKNOWN_TO_LOCALSTRIPE = ("allowed_payment_method_types", "return_url")

#: Stripe's page on currencies. Of these it takes multiples only: three decimal places end in 0, and
#: what has none any more is written with 00.
_MULTIPLES = {**dict.fromkeys(("bhd", "jod", "kwd", "omr", "tnd"), 10), "isk": 100, "ugx": 100}
_LEAST = {
    "usd": 50, "aed": 200, "aud": 50, "brl": 50, "cad": 50, "chf": 50, "czk": 1500, "dkk": 250,
    "eur": 50, "gbp": 30, "hkd": 400, "huf": 17500, "inr": 50, "jpy": 50, "mxn": 1000, "myr": 200,
    "nok": 300, "nzd": 50, "pln": 200, "ron": 200, "sek": 300, "sgd": 50, "thb": 1000,
}  # fmt: skip
_MOST = {"idr": 999_999_999_999}
_MOST_OF_OTHERS = 99_999_999


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    body: bytes
    headers: dict[str, str] = field(default_factory=dict)

    @property
    def data(self) -> Any:
        return json.loads(self.body)

    @classmethod
    def of(cls, data: Any, status: int = 200) -> Answer:
        return cls(status, json.dumps(data).encode())

    @classmethod
    def refusal(cls, code: str, status: int = 400, kind: str = "invalid_request_error") -> Answer:
        return cls.of({"error": {"type": kind, "code": code, "message": code}}, status)


_FAILURE = Answer.refusal("internal", 500, "api_error")


@dataclass(frozen=True, slots=True)
class Seen:
    """A request that came, whatever became of it."""

    method: str
    path: str
    params: tuple[tuple[str, str], ...]
    idempotency_key: str | None


class Cut(Exception):
    """No answer: the connection goes."""


class FaultyProxy:
    """One server on `url`, for as long as the context of `faulty_proxy` lasts."""

    def __init__(self, upstream: str) -> None:
        self._upstream = upstream
        self._faults: deque[Fault] = deque()
        self._saved: dict[str, tuple[Seen, Answer]] = {}
        self._in_progress: set[str] = set()
        self._captured: dict[str, int] = {}
        self._canceled: dict[str, int] = {}
        self._bounced: set[str] = set()
        self._disputes: list[dict[str, Any]] = []
        self._stopping = asyncio.Event()
        self.seen: list[Seen] = []
        self.hooked: list[tuple[bytes, dict[str, str]]] = []
        self.url = ""
        #: Whether what it calls invalid is found to be so only once the work has begun.
        self.saves_refusals = False
        #: What it refuses, whatever it is asked: the code by the end of the path.
        self.refuses: dict[str, str] = {}

    def fault(self, *faults: Fault) -> None:
        """What happens to the next requests that change something, one after the other."""
        self._faults.extend(faults)

    def forget_keys(self) -> None:
        """As Stripe does after a day."""
        self._saved.clear()

    def bounce(self, refund: str) -> None:
        """The customer's bank sends the money of that refund back."""
        self._bounced.add(refund)

    def dispute(self, intent: str, amount: int, status: str = "needs_response") -> str:
        """A customer's bank disputes; the dispute's id."""
        made = {
            "id": f"dp_{len(self._disputes) + 1}",
            "object": "dispute",
            "payment_intent": intent,
            "amount": amount,
            "currency": "eur",
            "status": status,
            "created": int(time.time()),
            "metadata": {},
        }
        self._disputes.append(made)
        return str(made["id"])

    def close_dispute(self, dispute: str, status: Literal["won", "lost"]) -> None:
        next(d for d in self._disputes if d["id"] == dispute)["status"] = status

    # Serving

    async def serve(self, started: threading.Event) -> None:
        self._session = ClientSession()
        app = web.Application()
        app.router.add_post("/hook", self._hook)
        app.router.add_route("*", "/{path:.*}", self._handle)
        runner = web.AppRunner(app, access_log=None, shutdown_timeout=0)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        host, port = runner.addresses[0][:2]
        self.url = f"http://{host}:{port}"
        started.set()
        await self._stopping.wait()
        await runner.cleanup()
        await self._session.close()

    def stop(self) -> None:
        self._stopping.set()

    async def _hook(self, request: web.Request) -> web.Response:
        self.hooked.append((await request.read(), dict(request.headers)))
        return web.Response()

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        sent = await request.text() if request.method == "POST" else request.query_string
        key = request.headers.get("Idempotency-Key")
        seen = Seen(request.method, request.path, tuple(sorted(parse_qsl(sent))), key)
        self.seen.append(seen)
        headers = {"Authorization": request.headers.get("Authorization", "")}
        try:
            answer = await self._answer(seen, headers)
        except Cut:
            if request.transport is not None:  # the client may have hung up before us
                request.transport.abort()
            return web.Response()
        return web.Response(
            status=answer.status,
            body=answer.body,
            headers={"Content-Type": "application/json", **answer.headers},
        )

    async def _answer(self, seen: Seen, headers: dict[str, str]) -> Answer:
        if seen.method != "POST":
            return await self._read(seen, headers)
        if seen.idempotency_key in self._in_progress:
            return Answer.refusal("idempotency_key_in_use", 409, "idempotency_error")
        saved = self._saved.get(seen.idempotency_key or "")
        if saved is not None:
            first, answer = saved
            if first != seen:
                return Answer.refusal("", kind="idempotency_error")
            return Answer(answer.status, answer.body, {"Idempotent-Replayed": "true"})
        return await self._change(seen, headers, self._faults.popleft() if self._faults else None)

    async def _change(self, seen: Seen, headers: dict[str, str], fault: Fault | None) -> Answer:
        match fault:
            case "error":
                return _FAILURE
            case "saved_error":
                return self._save(seen, _FAILURE)
            case "unavailable":
                return Answer(503, b"<html>upstream connect error</html>")
            case "rate_limited":
                refusal = Answer.refusal("rate_limit", 429)
                return Answer(429, refusal.body, {"Retry-After": str(RETRY_AFTER)})
            case "reset":
                raise Cut
            case "hang_before":
                await self._hang()
        self._in_progress.add(seen.idempotency_key or "")
        try:
            answer = self._save(seen, await self._do(seen, headers))
        finally:
            self._in_progress.discard(seen.idempotency_key or "")
        match fault:
            case "swallow":
                raise Cut
            case "hang":
                await self._hang()
            case "garbage":
                return Answer(200, b"<html>not JSON at all")
            case "nonsense":
                return Answer(200, b'{"object": "teapot"}')
            case "error_after":
                return _FAILURE
            case "saved_error_after":
                return self._save(seen, _FAILURE)
        return answer

    async def _hang(self) -> None:
        await self._stopping.wait()
        raise Cut

    def _save(self, seen: Seen, answer: Answer) -> Answer:
        """What was refused before the work began is not saved."""
        refused = (401, 429) if self.saves_refusals else (400, 401, 404, 429)
        if seen.idempotency_key and answer.status not in refused:
            self._saved[seen.idempotency_key] = (seen, answer)
        return answer

    # Strict changes

    async def _do(self, seen: Seen, headers: dict[str, str]) -> Answer:
        params = dict(seen.params)
        parts = seen.path.strip("/").split("/")
        if parts[-1] in self.refuses:
            return Answer.refusal(self.refuses[parts[-1]])
        if parts[1:] == ["payment_intents"]:
            refusal = _refuse_charge(params["amount"], params["currency"])
        elif parts[1:2] == ["payment_intents"] and len(parts) == 4:
            refusal = await self._refuse_end(parts[2], parts[3], params, headers)
        elif parts[1:] == ["refunds"]:
            refusal = await self._refuse_refund(params, headers)
        else:
            refusal = None
        if refusal is not None:
            return refusal
        known = [p for p in seen.params if not p[0].startswith(_UNKNOWN_TO_LOCALSTRIPE)]
        answer = await self._forward("POST", seen.path, known, headers)
        if answer.status == 200 and parts[-1] == "capture":
            self._captured[parts[2]] = int(params.get("amount_to_capture", answer.data["amount"]))
            return Answer.of(self._dress(answer.data))
        if answer.status == 200 and parts[-1] == "cancel":
            self._canceled[parts[2]] = int(time.time())
        return (
            answer if answer.status >= 500 else Answer.of(self._dress(answer.data), answer.status)
        )

    async def _refuse_end(
        self, intent: str, end: str, params: dict[str, str], headers: dict[str, str]
    ) -> Answer | None:
        """What Stripe refuses of a capture or a cancellation, and localstripe doesn't."""
        found = await self._forward("GET", f"/v1/payment_intents/{intent}", [], headers)
        if found.status != 200:
            return Answer.refusal("resource_missing", 404)
        if "amount_to_capture" in params and (
            refusal := _refuse_fractions(params["amount_to_capture"], found.data["currency"])
        ):
            return refusal
        status = found.data["status"]
        if end == "capture" and status != "requires_capture":
            return Answer.refusal("payment_intent_unexpected_state")
        if end == "capture" and int(params["amount_to_capture"]) > found.data["amount"]:
            return Answer.refusal("amount_too_large")
        if end == "cancel" and status in ("succeeded", "canceled"):
            return Answer.refusal("payment_intent_unexpected_state")
        return None

    async def _refuse_refund(
        self, params: dict[str, str], headers: dict[str, str]
    ) -> Answer | None:
        intent = params["payment_intent"]
        found = await self._forward("GET", f"/v1/payment_intents/{intent}", [], headers)
        if found.status != 200:
            return Answer.refusal("resource_missing", 404)
        if refusal := _refuse_fractions(params["amount"], found.data["currency"]):
            return refusal
        refunds = await self._list("/v1/refunds", headers)
        refunded = sum(
            r["amount"]
            for r in refunds
            if r["payment_intent"] == intent and r["id"] not in self._bounced
        )
        if refunded + int(params["amount"]) > self._captured.get(intent, 0):
            return Answer.refusal("charge_already_refunded")
        return None

    # Strict reading

    async def _read(self, seen: Seen, headers: dict[str, str]) -> Answer:
        parts = seen.path.strip("/").split("/")
        if len(parts) == 2 and parts[1] in ("payment_intents", "refunds", "disputes", "events"):
            return await self._list_page(seen, headers)
        answer = await self._forward("GET", seen.path, list(seen.params), headers)
        if answer.status == 404:
            return Answer.refusal("resource_missing", 404)
        return Answer.of(self._dress(answer.data), answer.status)

    async def _list_page(self, seen: Seen, headers: dict[str, str]) -> Answer:
        """A page of a list, newest first and filtered, as Stripe gives it."""
        params = dict(seen.params)
        expand = [p for p in seen.params if p[0].startswith("expand")]
        if seen.path == "/v1/disputes":
            found = [await self._expanded(d, bool(expand), headers) for d in self._disputes]
        else:
            found = await self._list(seen.path, headers, expand)
        types = {value for name, value in seen.params if name.startswith("types")}
        found = [
            item
            for item in reversed(found)
            if item["created"] >= int(params.get("created[gte]", 0))
            and item["created"] < int(params.get("created[lt]", 2**40))
            and (not types or item["type"] in types)
            and params.get("payment_intent") in (None, _id(item.get("payment_intent")))
        ]
        after = params.get("starting_after")
        start = [item["id"] for item in found].index(after) + 1 if after else 0
        end = start + int(params.get("limit", 10))
        page = {"object": "list", "url": seen.path, "has_more": end < len(found)}
        return Answer.of({**page, "data": self._dress(found[start:end])})

    async def _list(
        self, path: str, headers: dict[str, str], expand: list[tuple[str, str]] | None = None
    ) -> list[dict[str, Any]]:
        """All of a list of localstripe's, oldest first.

        Without the refunds it makes of what is not captured: Stripe makes none since 2025.
        """
        params = [("limit", "100000"), *(expand or [])]
        listed = (await self._forward("GET", path, params, headers)).data["data"]
        listed.sort(key=lambda item: item["created"])
        return [i for i in listed if i["object"] != "refund" or i["payment_intent"] is not None]

    async def _expanded(
        self, dispute: dict[str, Any], expand: bool, headers: dict[str, str]
    ) -> dict[str, Any]:
        if not expand:
            return dispute
        path = f"/v1/payment_intents/{dispute['payment_intent']}"
        return {**dispute, "payment_intent": (await self._forward("GET", path, [], headers)).data}

    def _dress(self, data: Any) -> Any:
        """Add what Stripe tells and localstripe doesn't, wherever it is told."""
        if isinstance(data, list):
            return [self._dress(item) for item in data]
        if not isinstance(data, dict):
            return data
        dressed = {name: self._dress(value) for name, value in data.items()}
        if data.get("object") == "payment_intent":
            dressed["amount_received"] = self._captured.get(data["id"], 0)
            dressed["canceled_at"] = self._canceled.get(data["id"])
        if data.get("object") == "refund" and data["id"] in self._bounced:
            dressed |= {"status": "failed", "failure_reason": "expired_or_canceled_card"}
        if data.get("object") == "charge":
            disputed = {d["payment_intent"] for d in self._disputes}
            dressed["disputed"] = data["payment_intent"] in disputed
        return dressed

    async def _forward(
        self, method: str, path: str, params: list[tuple[str, str]], headers: dict[str, str]
    ) -> Answer:
        sent = {"params": params} if method == "GET" else {"data": params}
        url = self._upstream + path
        async with self._session.request(method, url, headers=headers, **sent) as response:  # type: ignore[arg-type]
            return Answer(response.status, await response.read())


def _refuse_charge(amount: str, currency: str) -> Answer | None:
    if refusal := _refuse_fractions(amount, currency):
        return refusal
    if int(amount) < _LEAST.get(currency, 1):
        return Answer.refusal("amount_too_small")
    if int(amount) > _MOST.get(currency, _MOST_OF_OTHERS):
        return Answer.refusal("amount_too_large")
    return None


def _refuse_fractions(amount: str, currency: str) -> Answer | None:
    if int(amount) % _MULTIPLES.get(currency, 1):
        return Answer.refusal("parameter_invalid_integer")
    return None


def _id(reference: Any) -> Any:
    return reference["id"] if isinstance(reference, dict) else reference


@contextmanager
def faulty_proxy(upstream: str) -> Iterator[FaultyProxy]:
    loop = asyncio.new_event_loop()
    proxy = FaultyProxy(upstream)
    started = threading.Event()
    serving = threading.Thread(target=lambda: loop.run_until_complete(proxy.serve(started)))
    serving.start()
    assert started.wait(10)
    try:
        yield proxy
    finally:
        with suppress(RuntimeError):
            loop.call_soon_threadsafe(proxy.stop)
        serving.join()
        loop.close()
