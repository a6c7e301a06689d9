"""What is logged or kept of an error holds no card number, key, token or password."""

from __future__ import annotations

import io
import logging
import re
import sys
import threading
import time

import pytest

from pipeline import redaction
from pipeline.cards import holds_card_number, mask_card_numbers
from pipeline.redaction import Redact, describe, guard_logs, redact, redact_start

CARD = "4111111111111111"
KEY = "sk_" + "live_51HxZ8KLkdIwHu7ix"
SECRET = "correct horse battery staple"

#: What the networks publish for tests, by network.
CARDS = {
    "Visa": CARD,
    "Mastercard": "5555555555554444",
    "Mastercard, second series": "2223003122003222",
    "Maestro": "6759649826438453",
    "American Express": "378282246310005",
    "Discover": "6011111111111117",
    "Diners Club": "30569309025904",
    "Diners Club, 16 digits": "3056930009020004",
    "JCB": "3530111333300000",
    "UnionPay": "6200000000000005",
    "Mir": "2200000000000053",
}


# --- Card numbers ---------------------------------------------------------------------------------


@pytest.mark.parametrize("number", CARDS.values(), ids=list(CARDS))
def test_a_card_number_of_every_network_is_taken_out(number: str) -> None:
    assert redact(f"paid with {number}.") == "paid with (card number)."


@pytest.mark.parametrize(
    "written",
    [
        "4111 1111 1111 1111",
        "4111-1111-1111-1111",
        "4111.1111.1111.1111",
        "4111 - 1111 - 1111 - 1111",
        "4111\u00a01111\u00a01111\u00a01111",
        "4111\u20131111\u20131111\u20131111",
        "411111 1111111111",
        "４１１１１１１１１１１１１１１１",
        "٤١١١١١١١١١١١١١١١",
        "4111\n1111\n1111\n1111",
    ],
)
def test_a_card_number_is_seen_however_it_is_written(written: str) -> None:
    assert redact(f"<{written}>") == "<(card number)>"


def test_every_card_number_in_a_text_is_taken_out() -> None:
    assert mask_card_numbers(f"{CARD}, 378282246310005 and {CARD}") == (
        "(card number), (card number) and (card number)"
    )


@pytest.mark.parametrize(
    "text",
    [
        "2026-11-22 02:04:51,123 INFO order 17 of 2026-11-22",
        "4111111111111112",
        "lease 6b1f3a5e-1c5e-4d5c-9b65-0f7a4d6f2c11 ran out",
        "302-4936852-0000000",
        "4006381334112",
        "10.20.30.40 answered in 0.125 s",
        "1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20",
        "",
    ],
)
def test_other_numbers_are_left_alone(text: str) -> None:
    assert redact(text) == text
    assert not holds_card_number(text)


# --- Secrets --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "secret"),
    [
        (f"Invalid API Key provided: {KEY}", "51HxZ8KLkdIwHu7ix"),
        ("sk_" + "test_4eC39HqLyjWDarjtT1zdp7dc", "4eC39HqLyjWDarjtT1zdp7dc"),
        ("rk_" + "live_abc123", "abc123"),
        ("signed by whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"),
        ("pi_3MtwBw_secret_YrKJUKribcBjcG8HVhfZluoGH", "YrKJUKribcBjcG8HVhfZluoGH"),
        ('{"client_secret": "abc def"}', "abc def"),
        ("Authorization: Bearer eyJhbGciOi.J9-x_y", "eyJhbGciOi.J9-x_y"),
        ("{'authorization': 'Basic dXNlcjpodW50ZXIy'}", "dXNlcjpodW50ZXIy"),
        ("[(b'authorization', b'Bearer abc.def-ghi')]", "abc.def-ghi"),
        ("[('Authorization', 'Token 12345')]", "12345"),
        ("postgresql://mill:hunter2@db:5432/mill", "hunter2"),
        ("redis://:hunter2@cache", "hunter2"),
        ("amqp://mill:hun@ter/2@queue:5672/%2F", "hun@ter/2"),
        ("host=db password=hunter2 user=mill", "hunter2"),
        ("POST https://hooks.example/x?token=hunter2&n=1", "hunter2"),
        ("X-Api-Key: hunter2", "hunter2"),
        ('"password" : "hunter \\" 2"', "hunter"),
    ],
)
def test_a_secret_is_taken_out(text: str, secret: str) -> None:
    assert secret not in redact(text)


@pytest.mark.parametrize(
    "text",
    [
        "pi_3MtwBwLkdIwHu7ix28a3tqPa was captured",
        "https://hooks.example:8443/orders",
        "postgresql://db/mill",
        "the webhook secret is not set",
        "lease token ran out",
        "ada@example.com",
        'password authentication failed for user "mill"',
    ],
)
def test_what_is_no_secret_is_left_alone(text: str) -> None:
    assert redact(text) == text


def test_what_is_taken_out_leaves_the_rest_readable() -> None:
    text = f"GET postgresql://mill:x@db/mill?application_name=a failed: {KEY} for card {CARD}"

    assert redact(text) == (
        "GET postgresql://mill:(hidden)@db/mill?application_name=a failed: "
        "sk_live_(hidden) for card (card number)"
    )


@pytest.mark.parametrize("text", [f"password={SECRET!r} {KEY} {CARD}", "a://b:c@d", "whsec_abc"])
def test_twice_is_once(text: str) -> None:
    assert redact(redact(text)) == redact(text)


def test_what_is_cut_short_shows_no_half_of_a_secret() -> None:
    for before in range(40):
        text = "x" * before + f" card {CARD} of {KEY} " * 100
        shown = redact_start(text, 300)
        assert len(shown) <= 300
        assert not re.search(r"\d{5}|live_\w", shown)


def test_of_a_long_text_no_more_is_looked_at_than_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = list[int]()
    monkeypatch.setattr(
        redaction, "mask_card_numbers", lambda text, _: seen.append(len(text)) or text
    )

    assert len(describe(ValueError("://:" * 500_000))) == 1_000
    assert len(redact_start("a" * 2_000_000, 80)) == 80
    assert max(seen) < 2_000


@pytest.mark.parametrize(
    "piece", ["://:", "://a:b", "4 ", "4242 ", "password=", "a_", "pi_", "\u2460"]
)
def test_a_long_text_is_redacted_in_a_time_that_grows_as_it_does(piece: str) -> None:
    """CPU seconds: half an hour and more, when the pattern of URLs was quadratic."""
    began = time.thread_time()

    redact(piece * (1_000_000 // len(piece)))

    assert time.thread_time() - began < 60


def test_an_error_is_described_in_a_line_without_them() -> None:
    assert describe(ValueError(f"no {CARD}")) == "ValueError: no (card number)"


# --- Logs -----------------------------------------------------------------------------------------


@pytest.fixture
def log() -> tuple[logging.Logger, io.StringIO]:
    """A logger whose handler has the filter, and what the handler wrote."""
    written = io.StringIO()
    handler = logging.StreamHandler(written)
    handler.addFilter(Redact([SECRET]))
    logger = logging.Logger("test")
    logger.addHandler(handler)
    return logger, written


def test_a_message_and_its_arguments_are_redacted(log: tuple[logging.Logger, io.StringIO]) -> None:
    logger, written = log

    logger.warning("%s said %r of %d", KEY, SECRET, int(CARD))

    assert written.getvalue() == "sk_live_(hidden) said '(hidden)' of (card number)\n"


def test_a_traceback_is_redacted_with_the_errors_behind_it(
    log: tuple[logging.Logger, io.StringIO],
) -> None:
    logger, written = log

    try:
        try:
            raise KeyError(CARD)
        except KeyError as cause:
            raise RuntimeError(f"with {KEY}") from cause
    except RuntimeError:
        logger.exception("failed")

    assert CARD not in written.getvalue()
    assert KEY not in written.getvalue()
    assert "KeyError: '(card number)'" in written.getvalue()
    assert "RuntimeError: with sk_live_(hidden)" in written.getvalue()


def test_a_stack_is_redacted(log: tuple[logging.Logger, io.StringIO]) -> None:
    logger, written = log

    logger.warning("here", stack_info=True)  # by 4111 1111 1111 1111

    assert "stack_info=True)  # by (card number)" in written.getvalue()


def test_arguments_that_do_not_fit_their_message_are_not_printed(
    log: tuple[logging.Logger, io.StringIO], capsys: pytest.CaptureFixture[str]
) -> None:
    logger, written = log

    logger.warning("nothing to fill in", CARD)

    assert "nothing to fill in" in written.getvalue()
    assert CARD not in written.getvalue() + capsys.readouterr().err


def test_the_filter_is_on_every_handler_and_hears_of_what_nobody_caught(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    written = [io.StringIO(), io.StringIO()]
    monkeypatch.setattr(logging.root, "handlers", [logging.StreamHandler(w) for w in written])
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)
    monkeypatch.setattr(threading, "excepthook", threading.excepthook)

    def defect() -> None:
        raise ValueError(CARD)

    guard_logs()
    thread = threading.Thread(target=defect, name="presence")
    thread.start()
    thread.join()
    try:
        defect()
    except ValueError as error:
        sys.excepthook(ValueError, error, error.__traceback__)
    logging.captureWarnings(False)

    for text in (w.getvalue() for w in written):
        assert "presence died of it" in text
        assert text.count("ValueError: (card number)") == 2
        assert CARD not in text


def test_guarded_again_a_record_is_redacted_once_and_by_the_newest_secrets(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    handler = logging.StreamHandler(written := io.StringIO())
    monkeypatch.setattr(logging.root, "handlers", [handler])
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)
    monkeypatch.setattr(threading, "excepthook", threading.excepthook)

    for secret in ("first-of-all", "second-of-all"):
        guard_logs([secret])
    logging.getLogger("ordermill").warning("first-of-all second-of-all")
    logging.captureWarnings(False)

    assert len(handler.filters) == 1
    assert written.getvalue() == "first-of-all (hidden)\n"


def test_a_command_without_logging_of_its_own_is_guarded_too(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Python writes warnings to standard error where no handler is set."""
    monkeypatch.setattr(logging.root, "handlers", [])
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)
    monkeypatch.setattr(threading, "excepthook", threading.excepthook)

    guard_logs()
    logging.getLogger("ordermill").warning("card %s", CARD)
    logging.captureWarnings(False)

    assert capsys.readouterr().err == "card (card number)\n"
