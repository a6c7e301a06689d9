"""A pseudo-terminal that a command runs at, and what its screen shows."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Mapping

#: Seconds for what the command is about to do; starting takes most of them.
PATIENCE = 60.0
_STEERING = re.compile(r"\x1b\[\??[0-9;]*[A-Za-z]")
_MOVE = re.compile(r"\x1b\[(\d+);1H")


class Seat:
    """Presses keys and looks at the screen. `written` is all that the command has sent."""

    def __init__(self, *arguments: str, env: Mapping[str, str], size: tuple[int, int]) -> None:
        self.master, self._slave = pty.openpty()
        self.resize(*size)
        self._before = self._mode()
        self.written = ""
        self.process = subprocess.Popen(
            [sys.executable, "-m", "ordermill", *arguments],
            stdin=self._slave, stdout=self._slave, stderr=self._slave, start_new_session=True,
            env={**os.environ, "TERM": "xterm-256color", **env},
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        )  # fmt: skip

    def resize(self, columns: int, lines: int) -> None:
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))

    def press(self, keys: str) -> None:
        os.write(self.master, keys.encode())

    def screen(self) -> list[str]:
        """Its lines, as they were drawn last."""
        shown: dict[int, str] = {}
        parts = _MOVE.split(self.written)[1:]
        for number, text in zip(parts[::2], parts[1::2], strict=True):
            if number == "1":
                shown.clear()
            shown[int(number)] = _STEERING.sub("", text).rstrip()
        return [shown[number] for number in sorted(shown)]

    def see(self, *expected: str, without: str = "\0") -> list[str]:
        """Wait until the screen has all of it; the screen."""
        until = time.monotonic() + PATIENCE
        while True:
            text = "\n".join(self.screen())
            if all(each in text for each in expected) and without not in text:
                return self.screen()
            there = time.monotonic() < until and self._read()
            assert there, (expected, text, self.written[-2000:])

    def ended(self) -> int:
        """Wait until the command has ended; its exit code."""
        until = time.monotonic() + PATIENCE
        while self.process.poll() is None:
            assert time.monotonic() < until
            self._read(0.1)
        self._read(0.1)
        return self.process.returncode

    @property
    def is_as_before(self) -> bool:
        """Whether the terminal is as it was: its mode, its screen, its cursor."""
        last = [self.written.rfind(sign) for sign in ("\x1b[?1049h", "\x1b[?1049l", "\x1b[?25h")]
        return self._mode() == self._before and -1 < last[0] < last[1] and last[0] < last[2]

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        os.close(self.master)
        os.close(self._slave)

    def _mode(self) -> object:
        return termios.tcgetattr(self._slave)

    def _read(self, seconds: float = PATIENCE) -> bool:
        if not select.select([self.master], [], [], seconds)[0]:
            return False
        self.written += os.read(self.master, 65_536).decode(errors="replace")
        return True
