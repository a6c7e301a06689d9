"""A terminal that is drawn on and whose keys are read; afterwards it is as it was."""

from __future__ import annotations

import os
import re
import select
import signal
import sys
import termios
import tty
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import NoReturn

from rich.console import Console, RenderableType
from rich.screen import Screen

#: What arrows and the like send; all else is a character a key.
_KEYS = re.compile(r"\x1b(?:\[[0-9;]*[A-Za-z~]|O[A-Za-z])|.", re.DOTALL)
_NAMES = {
    "\x1b[A": "up", "\x1bOA": "up", "\x1b[B": "down", "\x1bOB": "down", "\x1b": "escape",
    "\r": "enter", "\n": "enter",
}  # fmt: skip
_DEADLY = (signal.SIGTERM, signal.SIGHUP)


def is_there() -> bool:
    """Whether somebody sits at a terminal that can be drawn on."""
    return sys.stdin.isatty() and sys.stdout.isatty() and os.environ.get("TERM", "dumb") != "dumb"


class Terminal:
    """Made by `opened`. Keys are names: a character, or up, down, enter, escape."""

    def __init__(self, console: Console, waker: int, woken: int) -> None:
        self._console = console
        self._waker, self._woken = waker, woken
        self._typed: list[str] = []

    def size(self) -> tuple[int, int]:
        """Columns and lines, at this moment."""
        columns, lines = os.get_terminal_size(sys.stdout.fileno())
        return columns or 80, lines or 24  # some pseudo-terminals say 0 of themselves

    def draw(self, picture: RenderableType) -> None:
        self._console.size = self.size()
        self._console.update_screen(Screen(picture))

    def key(self, seconds: float) -> str | None:
        """The next key; None after so many seconds, or when woken. EOFError if nobody is there."""
        if not self._typed:
            ready, _, _ = select.select([sys.stdin, self._woken], [], [], seconds)
            if self._woken in ready:
                with suppress(BlockingIOError):
                    os.read(self._woken, 1024)
            if sys.stdin in ready:
                self._typed = _keys(self._read())
        return self._typed.pop(0) if self._typed else None

    def _read(self) -> bytes:
        read = os.read(sys.stdin.fileno(), 1024)
        if read.endswith(b"\x1b") and select.select([sys.stdin], [], [], 0.05)[0]:
            read += os.read(sys.stdin.fileno(), 1024)  # an arrow that a slow line has cut in two
        return read

    def wake(self) -> None:
        """Let `key` return, from whichever thread."""
        with suppress(BlockingIOError):  # so full of calls that one more changes nothing
            os.write(self._waker, b"\0")


def _keys(read: bytes) -> list[str]:
    if not read:
        raise EOFError
    typed = read.decode(errors="replace")
    return [_NAMES.get(each, each) for each in _KEYS.findall(typed)]


@contextmanager
def opened() -> Iterator[Terminal]:
    """The terminal, drawn on a screen of its own, keys coming as they are pressed. However this ends
    (SIGTERM and SIGHUP too, which raise SystemExit here) the terminal is as it was."""
    stdin = sys.stdin.fileno()
    woken, waker = os.pipe()
    os.set_blocking(woken, False)
    os.set_blocking(waker, False)
    console = Console(file=sys.stdout)
    before = termios.tcgetattr(stdin)
    handlers = {each: signal.signal(each, _die) for each in _DEADLY}
    handlers[signal.SIGWINCH] = signal.signal(signal.SIGWINCH, lambda *_: None)
    old_waker = signal.set_wakeup_fd(waker, warn_on_full_buffer=False)
    try:
        _read_keys(stdin)
        with console.screen(hide_cursor=True):
            yield Terminal(console, waker, woken)
    finally:
        # Nothing may come between: who is impatient presses Ctrl-C twice.
        handlers[signal.SIGINT] = signal.signal(signal.SIGINT, signal.SIG_IGN)
        for each in _DEADLY:
            signal.signal(each, signal.SIG_IGN)
        with suppress(termios.error, OSError):  # the terminal itself is gone
            termios.tcsetattr(stdin, termios.TCSAFLUSH, before)
        signal.set_wakeup_fd(old_waker)
        for number, handler in handlers.items():
            signal.signal(number, handler)
        os.close(woken)
        os.close(waker)


def _read_keys(stdin: int) -> None:
    """Each key at once and unechoed. Ctrl-C interrupts as ever; Ctrl-Z would leave the shell with
    this screen, so it does nothing."""
    tty.setcbreak(stdin)
    mode = termios.tcgetattr(stdin)
    mode[6][termios.VSUSP] = b"\0"
    termios.tcsetattr(stdin, termios.TCSANOW, mode)


def _die(number: int, _frame: FrameType | None) -> NoReturn:
    raise SystemExit(128 + number)
