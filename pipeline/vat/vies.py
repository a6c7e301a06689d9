"""VIES by its REST form: is this VAT id valid, and the number that proves we asked.

POST /check-vat-number answers with the id that it was asked about, `valid`, `requestDate` and, to who
names a requester, `requestIdentifier`. Errors come as {"actionSucceed": false, "errorWrappers":
[{"error": CODE}]}, with status 200, too. An answer counts only if it is about the id that was asked,
of today, whole and well-formed; whatever else comes, or doesn't, is *unknown*, never a guess.
"""

from __future__ import annotations

import asyncio
import json
import logging
import re
import ssl
import threading
import time
from collections.abc import Callable, Collection, Mapping
from datetime import UTC, date, datetime, timedelta
from functools import cached_property
from typing import Any, Protocol

import httpx

from pipeline.payments.guard import Breaker
from pipeline.vat import PUBLIC
from pipeline.vat.check import INVALID, NOT_ASKED, VALID, VatCheck

log = logging.getLogger(__name__)

#: Requests at once: the member states refuse who sends many (MS_MAX_CONCURRENT_REQ).
MOST_AT_ONCE = 8
#: Bytes of an answer that are read; VIES's have less than one thousand.
MOST_READ = 65_536
#: Answers that are kept for the day.
MOST_KEPT = 10_000
#: How far VIES's date may be from ours: its clock has a time zone, and ours may be wrong.
_NEAR = timedelta(days=2)

_CODE = re.compile(r"[A-Z][A-Z_]{1,39}")
_NUMBER = re.compile(r"[\x21-\x7e]{1,64}")


class VatIds(Protocol):
    """Whoever knows VAT ids."""

    def ask(self, vat_ids: Collection[str]) -> dict[str, VatCheck]:
        """What is said of each. Never raises for an id."""
        ...


class NoAnswer(Exception):
    """What came is no answer that can be trusted; in words."""


class Refused(NoAnswer):
    """VIES says itself that it can't answer, by a code: it is there, its member state may not be."""


class Vies:
    """Asks the service at `url`, within `limit` seconds for each id and twice that for all; for
    `requester` (a VAT id of ours, or empty). After `failures` in a row it is left alone for `rest`
    seconds. Safe to share between threads."""

    def __init__(
        self,
        url: str = PUBLIC,
        requester: str = "",
        *,
        limit: float = 5.0,
        failures: int = 8,
        rest: float = 30.0,
        today: Callable[[], date] = lambda: datetime.now(UTC).date(),
    ) -> None:
        self._url = f"{url.rstrip('/')}/check-vat-number"
        self._requester = requester
        self._limit = limit
        self._breaker = Breaker(failures, rest)
        self._today = today
        self._kept: dict[str, VatCheck] = {}
        self._day: date | None = None
        self._lock = threading.Lock()

    def ask(self, vat_ids: Collection[str]) -> dict[str, VatCheck]:
        """What VIES says of each of these ids; those that it called valid today aren't asked again."""
        wanted = set(vat_ids)
        known = self._known(wanted)
        if missing := sorted(wanted - known.keys()):
            answers = asyncio.run(self._ask_all(missing))
            self._keep(answers)
            known |= answers
        return known

    @cached_property
    def _tls(self) -> ssl.SSLContext:
        """Made once: it reads all the world's certificates."""
        return httpx.create_ssl_context()

    # --- What was answered today ------------------------------------------------------------------

    def _known(self, wanted: Collection[str]) -> dict[str, VatCheck]:
        with self._lock:
            if self._day != self._today():
                self._kept, self._day = {}, self._today()
            return {each: self._kept[each] for each in wanted if each in self._kept}

    def _keep(self, answers: Mapping[str, VatCheck]) -> None:
        """Only what is valid: who was mistaken, or away, may be right in a minute."""
        with self._lock:
            if len(self._kept) + len(answers) > MOST_KEPT:
                self._kept.clear()
            self._kept |= {each: check for each, check in answers.items() if check.valid}

    # --- Asking -----------------------------------------------------------------------------------

    async def _ask_all(self, vat_ids: Collection[str]) -> dict[str, VatCheck]:
        turns = asyncio.Semaphore(MOST_AT_ONCE)
        async with httpx.AsyncClient(
            verify=self._tls,
            timeout=self._limit,
            follow_redirects=False,
            headers={"accept": "application/json", "accept-encoding": "identity"},
        ) as client:
            until = time.monotonic() + 2 * self._limit

            async def ask_in_turn(vat_id: str) -> VatCheck:
                async with turns:
                    return await self._ask(client, vat_id, until)

            checks = await asyncio.gather(*map(ask_in_turn, vat_ids))
        return dict(zip(vat_ids, checks, strict=True))

    async def _ask(self, client: httpx.AsyncClient, vat_id: str, until: float) -> VatCheck:
        if time.monotonic() > until - self._limit:
            return self._unknown(vat_id, NOT_ASKED)
        if self._breaker.refuse() is not None:
            return self._unknown(vat_id, "left alone for a while after it failed")
        is_there = False
        try:
            async with asyncio.timeout(self._limit):
                status, body = await self._post(client, vat_id)
            check, is_there = self._read(vat_id, status, body), True
        except TimeoutError:
            check = self._unknown(vat_id, f"no answer within {self._limit:g} s")
        except Refused as error:
            check, is_there = self._unknown(vat_id, str(error)), True
        except NoAnswer as error:
            check = self._unknown(vat_id, str(error))
        except Exception as error:  # whatever it makes our libraries raise, it gave no answer
            check = self._unknown(vat_id, f"not reached ({type(error).__name__})")
        self._breaker.report(well=is_there)
        if check.valid is None:
            log.warning("VIES gave no answer about a VAT id: %s", check.said)
        return check

    async def _post(self, client: httpx.AsyncClient, vat_id: str) -> tuple[int, bytes]:
        async with client.stream("POST", self._url, json=self._request(vat_id)) as response:
            body = bytearray()
            async for chunk in response.aiter_raw():
                body += chunk
                if len(body) > MOST_READ:
                    raise NoAnswer("its answer is too long")
            return response.status_code, bytes(body)

    def _request(self, vat_id: str) -> dict[str, str]:
        country, number = _parts(vat_id)
        asked = {"countryCode": country, "vatNumber": number}
        if self._requester:
            state, ours = _parts(self._requester)
            asked |= {"requesterMemberStateCode": state, "requesterNumber": ours}
        return asked

    # --- What it says -----------------------------------------------------------------------------

    def _unknown(self, vat_id: str, why: str) -> VatCheck:
        return VatCheck(vat_id, None, why, _now(), requester=self._requester or None)

    def _read(self, vat_id: str, status: int, body: bytes) -> VatCheck:
        told = _object(body, status)
        if told.get("actionSucceed") is False or "errorWrappers" in told:
            raise Refused(_code(told.get("errorWrappers")))
        if status != httpx.codes.OK:
            raise NoAnswer(f"it answered with status {status}")
        error = told.get("userError", VALID)
        if error not in (VALID, INVALID):
            raise Refused(_code([{"error": error}]))
        valid = told.get("valid")
        if not isinstance(valid, bool) or told.get("isValid", valid) is not valid:
            raise NoAnswer("its answer says neither valid nor invalid")
        if (told.get("countryCode"), told.get("vatNumber")) != _parts(vat_id):
            raise NoAnswer("its answer is about another VAT id")
        return VatCheck(
            vat_id,
            valid,
            VALID if valid else INVALID,
            _now(),
            _near(told.get("requestDate")),
            _number(told.get("requestIdentifier")),
            self._requester or None,
        )


def _parts(vat_id: str) -> tuple[str, str]:
    """Country and number, as VIES has them: Greece is EL."""
    return vat_id[:2].upper().replace("GR", "EL"), vat_id[2:]


def _object(body: bytes, status: int) -> dict[str, Any]:
    try:
        told = json.loads(body, object_pairs_hook=_without_doubles)
    except (ValueError, RecursionError):
        told = None
    if not isinstance(told, dict):
        raise NoAnswer(f"its answer (status {status}) is no JSON object")
    return told


def _without_doubles(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    read = dict(pairs)
    if len(read) != len(pairs):
        raise ValueError("a name that stands twice")
    return read


def _code(wrappers: Any) -> str:
    """VIES's code for what went wrong, if it looks like one."""
    first = wrappers[0] if isinstance(wrappers, list) and wrappers else None
    code = first.get("error") if isinstance(first, dict) else None
    if isinstance(code, str) and _CODE.fullmatch(code) and code not in (VALID, INVALID):
        return code
    return "it refused, without a code that it is known for"


def _near(at: Any) -> str:
    """VIES's own time of the request, which is now."""
    try:
        read = datetime.fromisoformat(at)
    except (TypeError, ValueError):
        raise NoAnswer("its answer has no date") from None
    read = read.replace(tzinfo=read.tzinfo or UTC)
    if abs(read - datetime.now(UTC)) > _NEAR:
        raise NoAnswer("its answer is of another day")
    return read.isoformat()


def _number(given: Any) -> str | None:
    if given in (None, ""):
        return None
    if not isinstance(given, str) or not _NUMBER.fullmatch(given):
        raise NoAnswer("its consultation number is none")
    return given


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
