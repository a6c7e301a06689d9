"""VIES is believed where it answers about the id that was asked, whole, well-formed and now; all else is
unknown, and costs no more than its time."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable
from datetime import date
from typing import Any

import pytest

from pipeline.vat.check import NOT_ASKED, VatCheck
from pipeline.vat.vies import MOST_READ, Vies
from tests.vat.service import JSON, Answer, Asked, Service, error, invalid, raw, saying, told, valid

ID, OURS = "FR40303265045", "DE136695976"


def ask(service: Service, *vat_ids: str, **options: Any) -> dict[str, VatCheck]:
    return Vies(service.url, OURS, **options).ask(vat_ids or [ID])


# --- What it is asked, and what counts ------------------------------------------------------------


def test_a_valid_id_has_the_consultation_number_and_its_time_as_evidence(service: Service) -> None:
    check = ask(service)[ID]

    assert (check.valid, check.said, check.vat_id, check.requester) == (True, "VALID", ID, OURS)
    assert check.consultation_number == "WAPIAAAAX3lU8bHe"
    assert check.requested_at is not None
    assert service.asked == [
        {"countryCode": "FR", "vatNumber": "40303265045",
         "requesterMemberStateCode": "DE", "requesterNumber": "136695976"}
    ]  # fmt: skip


def test_who_names_no_requester_gets_no_number(service: Service) -> None:
    check = Vies(service.url).ask([ID])[ID]

    assert (check.valid, check.consultation_number) == (True, None)
    assert service.asked == [{"countryCode": "FR", "vatNumber": "40303265045"}]


def test_greece_is_asked_for_as_el(service: Service) -> None:
    assert ask(service, "EL094259216")["EL094259216"].valid

    assert service.asked[0]["countryCode"] == "EL"


def test_an_id_that_is_not_valid_is_so(service: Service) -> None:
    service.answer = invalid

    check = ask(service)[ID]

    assert (check.valid, check.said) == (False, "INVALID")


@pytest.mark.parametrize(
    "code", ["MS_UNAVAILABLE", "TIMEOUT", "INVALID_REQUESTER_INFO", "GLOBAL_MAX_CONCURRENT_REQ"]
)
@pytest.mark.parametrize("status", [200, 400, 500])
def test_an_error_is_unknown_by_its_code(service: Service, code: str, status: int) -> None:
    service.answer = error(code, status)

    check = ask(service)[ID]

    assert (check.valid, check.said) == (None, code)


def twice(_: Asked) -> Answer:
    body = json.dumps(told({"countryCode": "FR", "vatNumber": ID[2:]}))
    return 200, JSON, body.replace('"valid": true', '"valid": false, "valid": true').encode()


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (raw(b"<html>VALID</html>"), "no JSON object"),
        (raw(b'{"valid": true, "countryC'), "no JSON object"),
        (raw(b"[" * 50_000), "no JSON object"),
        (raw(b"\xff\xfe"), "no JSON object"),
        (raw(b"true"), "no JSON object"),
        (raw(b"{}"), "neither valid nor invalid"),
        (raw(b"", 302, Location="/rest-api/check-vat-number"), "no JSON object"),
        (raw(b"{}", 503), "status 503"),
        (raw(b" " * (MOST_READ + 1)), "too long"),
        (twice, "no JSON object"),
        (saying(valid="true"), "neither valid nor invalid"),
        (saying(valid=1), "neither valid nor invalid"),
        (saying(isValid=False), "neither valid nor invalid"),
        (saying(userError="MS_UNAVAILABLE"), "MS_UNAVAILABLE"),
        (saying(userError="Bob's street 7"), "without a code"),
        (saying(actionSucceed=False), "without a code"),
        (saying(errorWrappers=[{"error": "VALID"}]), "without a code"),
        (saying(vatNumber="40303265046"), "another VAT id"),
        (saying(countryCode="IT"), "another VAT id"),
        (saying(countryCode=None), "another VAT id"),
        (saying(requestDate=None), "no date"),
        (saying(requestDate="yesterday"), "no date"),
        (saying(requestDate="2020-01-01T00:00:00.000Z"), "another day"),
        (saying(requestIdentifier=["W"]), "consultation number"),
        (saying(requestIdentifier="a b\n"), "consultation number"),
    ],
)
def test_an_answer_that_can_not_be_trusted_is_unknown(
    service: Service, answer: Callable[[Asked], Answer], why: str
) -> None:
    service.answer = answer

    check = ask(service)[ID]

    assert check.valid is None
    assert why in check.said
    assert len(service.asked) == 1  # no redirect is followed


def test_a_service_that_does_not_answer_costs_its_time_and_no_more(service: Service) -> None:
    service.answer = service.never

    check = ask(service, limit=0.2)[ID]

    assert (check.valid, check.said) == (None, "no answer within 0.2 s")


def test_one_that_is_not_there_is_unknown() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        check = Vies(f"http://127.0.0.1:{taken.getsockname()[1]}").ask([ID])[ID]

    assert (check.valid, check.said) == (None, "not reached (ConnectError)")


# --- Many -----------------------------------------------------------------------------------------


def ids(number: int) -> list[str]:
    return [f"FR{n:011}" for n in range(number)]


def test_each_of_many_has_its_own_answer(service: Service) -> None:
    service.answer = lambda asked: (invalid if asked["vatNumber"].endswith("7") else valid)(asked)

    checks = ask(service, *ids(30))

    assert {each for each, check in checks.items() if not check.valid} == {
        "FR00000000007", "FR00000000017", "FR00000000027",
    }  # fmt: skip
    assert all(each == check.vat_id for each, check in checks.items())


def test_for_whom_there_is_no_time_left_is_not_asked(service: Service) -> None:
    service.answer = service.never

    checks = ask(service, *ids(40), limit=0.2, failures=1_000)

    said = [check.said for check in checks.values()]
    assert {check.valid for check in checks.values()} == {None}
    assert said.count(NOT_ASKED) >= 40 - 2 * 8
    assert len(service.asked) <= 2 * 8


def test_one_that_fails_again_and_again_is_left_alone_for_a_while(service: Service) -> None:
    service.answer = raw(b"<html>down</html>", 503)
    vies = Vies(service.url, failures=2, rest=60.0)

    for _ in range(2):
        vies.ask([ID])
    check = vies.ask([ID])[ID]

    assert len(service.asked) == 2
    assert (check.valid, check.said) == (None, "left alone for a while after it failed")


def test_a_member_state_that_is_away_keeps_nobody_from_asking_about_others(
    service: Service,
) -> None:
    service.answer = lambda asked: (
        error("MS_UNAVAILABLE") if asked["countryCode"] == "FR" else valid
    )(asked)
    vies = Vies(service.url, failures=2, rest=60.0)

    for _ in range(3):
        assert vies.ask([ID])[ID].said == "MS_UNAVAILABLE"

    assert vies.ask(["IT00743110157"])["IT00743110157"].valid


# --- For the day ----------------------------------------------------------------------------------


def test_what_was_valid_is_not_asked_again_the_same_day(service: Service) -> None:
    day = [date(2026, 11, 30)]
    vies = Vies(service.url, OURS, today=lambda: day[0])

    first, again = vies.ask([ID]), vies.ask([ID])
    day[0] = date(2026, 12, 1)
    vies.ask([ID])

    assert first == again
    assert len(service.asked) == 2


@pytest.mark.parametrize("answer", [invalid, error("MS_UNAVAILABLE")])
def test_whatever_else_was_said_is_asked_again(
    service: Service, answer: Callable[[Asked], Answer]
) -> None:
    service.answer = answer
    vies = Vies(service.url)

    vies.ask([ID])
    service.answer = valid

    assert vies.ask([ID])[ID].valid
