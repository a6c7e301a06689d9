"""Counts from a URL: asked once a run, the same answer read once."""

from __future__ import annotations

import secrets
import time
from pathlib import Path

import httpx

from pipeline.errors import FeedAway

#: Seconds for the whole answer, and for each wait for more of it; bytes at most.
PATIENCE, SILENCE, MOST_BYTES = 120.0, 10.0, 512 * 1024 * 1024
_SUFFIX = {
    "text/csv": ".csv",
    "application/csv": ".csv",
    "application/jsonl": ".jsonl",
    "application/x-ndjson": ".jsonl",
    "application/ndjson": ".jsonl",
}


def name_of(url: str) -> str:
    """What the URL is called where people read it: neither a password nor a key."""
    parts = httpx.URL(url)
    return f"{parts.host}{parts.path}"[:255]


def download(
    url: str,
    into: Path,
    etag: str | None = None,
    *,
    patience: float = PATIENCE,
    silence: float = SILENCE,
    most: int = MOST_BYTES,
) -> tuple[Path, str | None] | None:
    """The answer as a new file in the folder `into`, and its ETag; None if it is the one of `etag`
    still. FeedAway says what else was answered: nothing is left behind then."""
    name = name_of(url)
    headers = {"user-agent": "Ordermill", "accept": "text/csv, application/x-ndjson"}
    if etag:
        headers["if-none-match"] = etag
    into.mkdir(parents=True, exist_ok=True)
    part = into / f".{secrets.token_hex(8)}.part"
    try:
        with (
            httpx.Client(timeout=silence, follow_redirects=False) as client,
            client.stream("GET", url, headers=headers) as response,
        ):
            if response.status_code == httpx.codes.NOT_MODIFIED:
                return None
            suffix = _judged(response, name)
            _save(response, part, name, time.monotonic() + patience, most)
        whole = into / f"{time.time_ns()}{suffix}"
        part.replace(whole)
        return whole, response.headers.get("etag")
    except httpx.InvalidURL:
        raise FeedAway("ORDERMILL_STOCK_FEED is no URL") from None
    except httpx.HTTPError as error:
        raise FeedAway(f"{name}: no answer: {type(error).__name__}") from None
    finally:
        part.unlink(missing_ok=True)


def _judged(response: httpx.Response, name: str) -> str:
    """The file's suffix, by the type of the content."""
    if response.is_redirect:
        raise FeedAway(
            f"{name} answered {response.status_code}; redirects are not followed, set the URL it leads to"
        )
    if response.status_code != httpx.codes.OK:
        raise FeedAway(f"{name} answered {response.status_code}, expected 200")
    kind = response.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind not in _SUFFIX:
        raise FeedAway(
            f"{name} answered content of type {kind[:80]!r}, expected {' or '.join(_SUFFIX)}"
        )
    return _SUFFIX[kind]


def _save(response: httpx.Response, path: Path, name: str, over: float, most: int) -> None:
    size = 0
    with path.open("wb") as file:
        for chunk in response.iter_bytes():
            size += len(chunk)
            if size > most:
                raise FeedAway(f"{name} answered more than {most:,} bytes")
            if time.monotonic() > over:
                raise FeedAway(f"{name} was not done with its answer in time")
            file.write(chunk)
