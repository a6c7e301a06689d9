"""What must never be read in a log or kept in a row: card numbers, keys, passwords.

Errors of libraries quote what they were given, so what is logged or stored of an error passes
here: `redact` for a text, the filter for whatever a process of ours logs.
"""

from __future__ import annotations

import logging
import re
import sys
import threading
import traceback
from collections.abc import Iterable
from types import TracebackType
from typing import Any

from pipeline.cards import mask_card_numbers

HIDDEN = "(hidden)"

_SECRETS: tuple[tuple[re.Pattern[str], str], ...] = (
    # Our own keys: which one it was may be read, its secret not
    (re.compile(r"\b(om_live_[0-9a-f]{12})_\w+"), rf"\1_{HIDDEN}"),
    # Stripe: API keys, and what signs its webhooks (as does ours: the same form)
    (re.compile(r"\b(sk|rk|pk)_(live|test)_\w+"), rf"\1_\2_{HIDDEN}"),
    (re.compile(r"\bwhsec_[\w+/=-]+"), f"whsec_{HIDDEN}"),
    # With a client secret a stranger completes, or reads, the payment it belongs to.
    (re.compile(r"\b((?:pi|seti|src|cs)_\w+?)_secret_\w+"), rf"\1_secret_{HIDDEN}"),
    (re.compile(r"\b(Bearer|Basic|Digest)\s+[\w.~+/:=-]{6,}", re.IGNORECASE), rf"\1 {HIDDEN}"),
    # Up to the last @: a password may hold one, and a slash. Bounded, for `://:` over and over.
    (re.compile(r"(://[^\s:/@]{0,500}):[^\s\"'<>]{0,1000}@"), rf"\1:{HIDDEN}@"),
    # name=value, name: value, "name": "value", ('name', b'value')
    (
        re.compile(
            r"\b((?:\w+[_-])?"
            r"(?:password|passwd|pwd|secret|token|(?:api|secret|private)[_-]?key|authorization|cookie)"
            r"(?:[\"']?\s*[=:]|[\"']\s*,(?=\s*b?[\"']))\s*b?)(?!\(hidden)"
            r"(\"[^\"]*\"|'[^']*'|[^\s\"',;&)}\]]+)",
            re.IGNORECASE,
        ),
        rf"\1{HIDDEN}",
    ),
)


def redact(text: str) -> str:
    """`text` without card numbers, keys, tokens and passwords."""
    for pattern, instead in _SECRETS:
        text = pattern.sub(instead, text)
    return mask_card_numbers(text)


def describe(error: BaseException) -> str:
    """An error in a line, fit to be stored and shown."""
    return redact(f"{type(error).__name__}: {error}")


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
        return redact(text if self._known is None else self._known.sub(HIDDEN, text))


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
