"""Calls of our HTTP API as whoever means it makes them: again until there is an answer."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import httpx

from tests.chaos.journal import Journal

PATIENCE = 0.25
#: As long as a person, or a cautious program, waits for one answer.
ANSWER_WITHIN = 20.0
#: After so long the answer is missed: nothing is down for so long.
GIVE_UP_AFTER = 240.0
#: These say "come again". 500 does too, but is a fault of ours: it goes to the journal.
AGAIN = frozenset({408, 429, 500, 502, 503})


@dataclass(frozen=True, slots=True)
class Answered:
    """`doubtful`: an earlier try had no answer, so it may have been done by then."""

    status: int
    body: Any
    doubtful: bool


class NeverAnsweredError(Exception):
    """There was no answer for GIVE_UP_AFTER seconds, or the trial was broken off."""


@dataclass(slots=True)
class Caller:
    """One key at one address; may be shared by threads. `resent` counts calls that were made again.
    Once it is `over` nobody calls any more."""

    api: str
    key: str
    journal: Journal
    over: threading.Event
    resent: int = 0
    _http: threading.local = field(default_factory=threading.local)

    def call(
        self,
        method: str,
        path: str,
        content: object = None,
        headers: Mapping[str, str] | None = None,
    ) -> Answered:
        """The first answer that is one."""
        give_up, doubtful = time.monotonic() + GIVE_UP_AFTER, False
        while time.monotonic() < give_up and not self.over.is_set():
            try:
                answer = self.http.request(method, path, json=content, headers=headers)
            except httpx.ConnectError:
                self._again()
                continue
            except httpx.TransportError:
                doubtful = True
                self._again()
                continue
            if answer.status_code not in AGAIN:
                return Answered(answer.status_code, _told(answer), doubtful)
            doubtful = True
            if answer.status_code == 500:
                self.journal.write("500", call=f"{method} {path}", said=answer.text[:500])
            self._again()
        raise NeverAnsweredError(f"{method} {path}")

    @property
    def http(self) -> httpx.Client:
        """This thread's own connections."""
        client: httpx.Client | None = getattr(self._http, "client", None)
        if client is None:
            headers = {"Authorization": f"Bearer {self.key}"}
            client = httpx.Client(base_url=self.api, headers=headers, timeout=ANSWER_WITHIN)
            self._http.client = client
        return client

    def _again(self) -> None:
        self.resent += 1
        self.over.wait(PATIENCE)


def _told(answer: httpx.Response) -> Any:
    try:
        return answer.json()
    except ValueError:
        return answer.text
