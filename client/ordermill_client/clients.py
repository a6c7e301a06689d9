"""The two that drive operations: one waits, the other awaits. They differ in nothing else."""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from typing import Any, Concatenate, Generic, ParamSpec, Self, TypeVar, overload

import httpx

from ordermill_client import operations
from ordermill_client.batch import place_all
from ordermill_client.steps import (
    END,
    Answer,
    Draw,
    Request,
    Retries,
    Send,
    Step,
    Steps,
    Tell,
    Telling,
    Wait,
)
from ordermill_client.version import VERSION

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")


class _Bound:
    """Shows an operation as a method, its signature without what the client adds."""

    def __init__(self, operation: Callable[..., Any]) -> None:
        self._operation = operation
        self.__doc__ = operation.__doc__
        signature = inspect.signature(operation)
        own = list(signature.parameters.values())[1:]
        self._signature = signature.replace(parameters=own)

    def _method(self, client: Any, run: Callable[[Any], Any]) -> Any:
        def method(*args: Any, **kwargs: Any) -> Any:
            return run(self._operation(client.retries, *args, **kwargs))

        method.__name__ = self._operation.__name__
        method.__doc__ = self.__doc__
        method.__signature__ = self._signature  # type: ignore[attr-defined]
        return method


class _Returning(_Bound, Generic[P, R]):
    """An operation that returns, or is awaited."""

    def __init__(self, operation: Callable[Concatenate[Retries, P], Steps[R]]) -> None:
        super().__init__(operation)

    @overload
    def __get__(self, client: None, owner: Any) -> Self: ...
    @overload
    def __get__(self, client: Client, owner: Any) -> Callable[P, R]: ...
    @overload
    def __get__(self, client: AsyncClient, owner: Any) -> Callable[P, Coroutine[Any, Any, R]]: ...
    def __get__(self, client: Any, owner: Any) -> Any:
        return self if client is None else self._method(client, client._run)


class _Telling(_Bound, Generic[P, T]):
    """An operation that is iterated over."""

    def __init__(self, operation: Callable[Concatenate[Retries, P], Telling[T]]) -> None:
        super().__init__(operation)

    @overload
    def __get__(self, client: None, owner: Any) -> Self: ...
    @overload
    def __get__(self, client: Client, owner: Any) -> Callable[P, Iterator[T]]: ...
    @overload
    def __get__(self, client: AsyncClient, owner: Any) -> Callable[P, AsyncIterator[T]]: ...
    def __get__(self, client: Any, owner: Any) -> Any:
        return self if client is None else self._method(client, client._tell)


class _Operations:
    """What both clients can do."""

    place = _Returning(operations.place)
    place_all = _Telling(place_all)
    quote = _Returning(operations.quote)
    order = _Returning(operations.order)
    orders = _Telling(operations.orders)
    timeline = _Returning(operations.timeline)
    stock_of = _Returning(operations.stock_of)
    wait_until_settled = _Returning(operations.wait_until_settled)
    events = _Telling(operations.events)
    cancel = _Returning(operations.cancel)
    requeue = _Returning(operations.requeue)
    decide = _Returning(operations.decide)
    decide_all = _Returning(operations.decide_all)
    refund = _Returning(operations.refund)
    product = _Returning(operations.product)
    products = _Telling(operations.products)
    put_product = _Returning(operations.put_product)
    stock = _Telling(operations.stock)
    adjust_stock = _Returning(operations.adjust_stock)
    count_stock = _Returning(operations.count_stock)
    request = _Returning(operations.request)

    def __init__(self, url: str, key: str, timeout: float, retries: Retries | None) -> None:
        if httpx.URL(url).scheme not in ("http", "https"):
            raise ValueError(f"url: got {url!r}, expected one such as https://orders.example")
        if httpx.URL(url).userinfo:  # it would be sent in the key's place
            raise ValueError("url: expected no user and no password in it; the key says who calls")
        if not key.isascii() or not key.isprintable() or not key:
            raise ValueError(
                "key: expected one such as om_live_…, as `ordermill keys create` shows"
            )
        self.retries = retries or Retries()
        self._url = url.rstrip("/")
        self._headers = {
            "Authorization": f"Bearer {key}",
            "User-Agent": f"ordermill-client/{VERSION}",
        }
        self._timeout = timeout

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._url!r})"

    def _sending(self, step: Send) -> dict[str, Any]:
        request: Request = step.request
        return {
            "method": request.method,
            "url": self._url + request.path,
            "params": request.params or None,
            "headers": {**self._headers, **request.headers},
            "content": request.body,
            "timeout": max(0.001, min(self._timeout, step.patience)),
            "follow_redirects": False,
        }


class Client(_Operations):
    """A client for threads; any number may share it.

    `timeout`: seconds without a byte after which a try is given up. `http`: one of your own, for
    proxies and certificates; you close it.
    """

    def __init__(
        self,
        url: str,
        key: str,
        *,
        timeout: float = 10.0,
        retries: Retries | None = None,
        http: httpx.Client | None = None,
    ) -> None:
        super().__init__(url, key, timeout, retries)
        self._http, self._ours = http or httpx.Client(), http is None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        if self._ours:
            self._http.close()

    def _run(self, steps: Steps[R]) -> R:
        outcome: Any = None
        while True:
            try:
                step = steps.send(outcome)
            except StopIteration as ended:
                return ended.value  # type: ignore[no-any-return]
            outcome = self._do(step)

    def _tell(self, steps: Telling[T]) -> Iterator[T]:
        outcome: Any = None
        while True:
            try:
                step = steps.send(outcome)
            except StopIteration:
                return
            if isinstance(step, Tell):
                yield step.item
                outcome = None
            else:
                outcome = self._do(step)

    def _do(self, step: Step) -> Any:
        match step:
            case Send():
                return self._send(step)
            case Wait():
                time.sleep(step.seconds)
            case Draw(source):
                if isinstance(source, AsyncIterator):
                    raise TypeError("orders: got an async iterable; AsyncClient takes those")
                return next(source, END)
        return None

    def _send(self, step: Send) -> Answer:
        came = _Coming()
        try:
            with self._http.stream(**self._sending(step)) as response:
                came.head(response)
                for chunk in response.iter_bytes():
                    came.body += chunk
        except httpx.RequestError as error:
            return came.answer(error)
        return came.answer()


class AsyncClient(_Operations):
    """A client for asyncio; any number of tasks may share it. Otherwise as Client."""

    def __init__(
        self,
        url: str,
        key: str,
        *,
        timeout: float = 10.0,
        retries: Retries | None = None,
        http: httpx.AsyncClient | None = None,
    ) -> None:
        super().__init__(url, key, timeout, retries)
        self._http, self._ours = http or httpx.AsyncClient(), http is None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        if self._ours:
            await self._http.aclose()

    async def _run(self, steps: Steps[R]) -> R:
        outcome: Any = None
        while True:
            try:
                step = steps.send(outcome)
            except StopIteration as ended:
                return ended.value  # type: ignore[no-any-return]
            outcome = await self._do(step)

    async def _tell(self, steps: Telling[T]) -> AsyncIterator[T]:
        outcome: Any = None
        while True:
            try:
                step = steps.send(outcome)
            except StopIteration:
                return
            if isinstance(step, Tell):
                yield step.item
                outcome = None
            else:
                outcome = await self._do(step)

    async def _do(self, step: Step) -> Any:
        match step:
            case Send():
                return await self._send(step)
            case Wait():
                await asyncio.sleep(step.seconds)
            case Draw(source):
                if isinstance(source, AsyncIterator):
                    return await anext(source, END)
                return next(source, END)
        return None

    async def _send(self, step: Send) -> Answer:
        came = _Coming()
        try:
            async with self._http.stream(**self._sending(step)) as response:
                came.head(response)
                async for chunk in response.aiter_bytes():
                    came.body += chunk
        except httpx.RequestError as error:
            return came.answer(error)
        return came.answer()


class _Coming:
    """An answer as it comes: it may be cut anywhere."""

    def __init__(self) -> None:
        self.body = bytearray()
        self._status = 0
        self._headers: dict[str, str] = {}

    def head(self, response: httpx.Response) -> None:
        self._status = response.status_code
        self._headers = dict(response.headers)

    def answer(self, cut: httpx.RequestError | None = None) -> Answer:
        return Answer(self._status, self._headers, bytes(self.body), cut)
