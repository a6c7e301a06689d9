"""What must never be read in a log or kept in a row: card numbers, keys, passwords.

Errors of libraries quote what they were given, so what is logged or stored of an error passes
here: `redact` for a text, `redact_start` for one that may be of any length, the filter for whatever
a process of ours logs.

What is looked at was often chosen by a stranger, and a regular expression keeps the whole process
waiting: each pattern takes a time that grows with the text's length, never with its square, and
what is going to be cut short is cut before it is looked at.
"""

from __future__ import annotations

import logging
import re
import sys
import threading
import traceback
from collections.abc import Callable, Iterable
from types import TracebackType
from typing import Any

from pipeline.cards import mask_card_numbers

HIDDEN = "(hidden)"
#: Characters of a log's line, or of a traceback, that are kept: as many from its beginning as from
#: its end.
MOST_LOGGED = 20_000
#: Where a text was cut, half a card's number or half a password may stand: so much is dropped.
_EDGE = 300


def _without_password(url: str) -> str:
    """`://user:password@…`: up to the last @, as a password may hold one, and a slash."""
    secret, at, rest = url.rpartition("@")
    return f"{secret[: secret.index(':', 3)]}:{HIDDEN}@{rest}" if at else url


_SECRETS: tuple[tuple[re.Pattern[str], str | Callable[[re.Match[str]], str]], ...] = (
    # Our own keys: which one it was may be read, its secret not
    (re.compile(r"\b(om_live_[0-9a-f]{12})_\w+"), rf"\1_{HIDDEN}"),
    # Stripe: API keys, and what signs its webhooks (as does ours: the same form)
    (re.compile(r"\b(sk|rk|pk)_(live|test)_\w+"), rf"\1_\2_{HIDDEN}"),
    (re.compile(r"\bwhsec_[\w+/=-]+"), f"whsec_{HIDDEN}"),
    # With a client secret a stranger completes, or reads, the payment it belongs to.
    (re.compile(r"\b((?:pi|seti|src|cs)_\w+?)_secret_\w+"), rf"\1_secret_{HIDDEN}"),
    (re.compile(r"\b(Bearer|Basic|Digest)\s+[\w.~+/:=-]{6,}", re.IGNORECASE), rf"\1 {HIDDEN}"),
    (re.compile(r"://[^\s:/@]*+:[^\s\"'<>]*+"), lambda url: _without_password(url[0])),
    # name=value, name: value, "name": "value", ('name', b'value')
    (
        re.compile(
            r"\b((?:\w+[_-])?"
            r"(?:(?:ssl)?password|passwd|pwd|secret|token|(?:api|secret|private)[_-]?key|authorization|cookie)"
            r"(?:[\"']?\s*[=:]|[\"']\s*,(?=\s*b?[\"']))\s*b?)(?!\(hidden)"
            r"(\"[^\"]*\"|'[^']*'|[^\s\"',;&)}\]]+)",
            re.IGNORECASE,
        ),
        rf"\1{HIDDEN}",
    ),
)


def _masked(_number: str) -> str:
    return "(card number)"


def redact(text: str, card: Callable[[str], str] = _masked) -> str:
    """`text` without card numbers, keys, tokens and passwords. `card` says what stands in place of
    a card's number."""
    for pattern, instead in _SECRETS:
        text = pattern.sub(instead, text)
    return mask_card_numbers(text, card)


def redact_start(text: str, most: int, card: Callable[[str], str] = _masked) -> str:
    """The first `most` characters of `text`, redacted; what lies far behind them isn't looked at."""
    looked_at = text[: most + 2 * _EDGE]
    found = redact(looked_at, card)
    return (found[:-_EDGE] if len(looked_at) < len(text) else found)[:most]


def describe(error: BaseException) -> str:
    """An error in a line of at most 1,000 characters, fit to be stored and shown."""
    return redact_start(f"{type(error).__name__}: {error}", 1_000)


def _both_ends(text: str) -> str:
    """`text`, or of one that is too long to be logged its beginning and its end; redacted."""
    if len(text) <= MOST_LOGGED:
        return redact(text)
    half = MOST_LOGGED // 2
    start, end = redact_start(text, half), redact(text[-half - _EDGE :])[_EDGE:]
    return f"{start}… ({len(text) - MOST_LOGGED:,} characters are left out) …{end}"


class Redact(logging.Filter):
    """Takes out of a record whatever `redact` does: message with its arguments, traceback, stack.

    `secrets` are values known to be such, whatever they look like.
    """

    def __init__(self, secrets: Iterable[str] = ()) -> None:
        super().__init__()
        known = sorted({s for s in secrets if len(s) >= 6}, key=len, reverse=True)
        self._known = re.compile("|".join(map(re.escape, known))) if known else None

    def filter(self, record: logging.LogRecord) -> bool:
        """As in `Filter`; lets every record through."""
        record.msg, record.args = self._redact(_message(record)), None
        if record.exc_info and not record.exc_text:
            # Formatters use the text where there is one, and format the exception where not.
            record.exc_text = "".join(traceback.format_exception(*record.exc_info)).rstrip("\n")
        if record.exc_text:
            record.exc_text = self._redact(record.exc_text)
        if record.stack_info:
            record.stack_info = self._redact(record.stack_info)
        return True

    def _redact(self, text: str) -> str:
        return _both_ends(text if self._known is None else self._known.sub(HIDDEN, text))


def _message(record: logging.LogRecord) -> str:
    try:
        return record.getMessage()
    except Exception as error:  # arguments that don't fit: logging would print them all, unredacted
        return f"{record.msg} (not formatted: {type(error).__name__})"


def guard_logs(secrets: Iterable[str] = ()) -> None:
    """Put the filter on every handler that this process's root logger has, and on what Python uses
    where there is none; exceptions that nobody caught are logged rather than printed.

    Asked again, the filter takes the place of the earlier one: each costs every record its time.
    """
    redacting = Redact(secrets)
    for handler in (*logging.getLogger().handlers, logging.lastResort):
        if handler is not None:
            for earlier in [f for f in handler.filters if isinstance(f, Redact)]:
                handler.removeFilter(earlier)
            handler.addFilter(redacting)
    sys.excepthook = _log_uncaught
    threading.excepthook = _log_uncaught_in_thread
    logging.captureWarnings(True)


def _log_uncaught(
    kind: type[BaseException], error: BaseException, trace: TracebackType | None
) -> None:
    if issubclass(kind, KeyboardInterrupt):
        sys.__excepthook__(kind, error, trace)
        return
    logging.getLogger("uncaught").critical("died of it", exc_info=(kind, error, trace))


def _log_uncaught_in_thread(args: Any) -> None:
    name = args.thread.name if args.thread else "a thread"
    log = logging.getLogger("uncaught")
    log.critical(
        "%s died of it", name, exc_info=(args.exc_type, args.exc_value, args.exc_traceback)
    )
