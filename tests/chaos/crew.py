"""The processes of the Procfile, and a supervisor that starts anew whatever ends."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).parents[2]
LOOK_EVERY = 0.05
#: Seconds before a process that ended by itself is started again; one that was killed comes at once.
PATIENCE = 0.3
STOP_WITHIN = 30.0


def commands() -> dict[str, list[str]]:
    """What the Procfile starts, by name, with this very interpreter."""
    lines = (ROOT / "Procfile").read_text().splitlines()
    named = dict(line.split(":", 1) for line in lines if ":" in line)
    return {name: _command(line) for name, line in named.items()}


def _command(line: str) -> list[str]:
    program, *arguments = shlex.split(line)
    return [sys.executable, "-m", program, *arguments]


@dataclass(slots=True)
class Member:
    """One process of the crew: `name` is for ever, `process` the one that bears it now."""

    name: str
    command: list[str]
    process: subprocess.Popen[bytes]
    is_stopped: bool = False


@dataclass(slots=True)
class Crew:
    """Runs members and replaces them as they end. `gave_up` counts those that ended by themselves
    (a process that comes up while the database is down does, and may)."""

    folder: Path
    environment: Mapping[str, str]
    members: list[Member] = field(default_factory=list)
    gave_up: int = 0
    _over: threading.Event = field(default_factory=threading.Event)
    _watch: threading.Thread | None = None

    def start(self, roles: Mapping[str, int]) -> None:
        """`roles`: how many of each name in the Procfile."""
        known = commands()
        for role, number in roles.items():
            for n in range(1, number + 1):
                name = f"{role}.{n}"
                self.members.append(Member(name, known[role], self._spawn(name, known[role])))
        self._watch = threading.Thread(target=self._replace_until_over, name="crew", daemon=True)
        self._watch.start()

    def kill(self, member: Member) -> None:
        member.process.kill()

    def freeze(self, member: Member) -> None:
        """SIGSTOP: it holds what it holds, and knows nothing of the time that goes by."""
        member.is_stopped = True
        os.kill(member.process.pid, signal.SIGSTOP)

    def thaw(self, member: Member) -> None:
        os.kill(member.process.pid, signal.SIGCONT)
        member.is_stopped = False

    def dismiss(self) -> dict[str, int]:
        """Ask all to stop in good order; their exit codes by name (-9: it had to be killed)."""
        self._over.set()
        if self._watch is not None:
            self._watch.join()
        for member in self.members:
            member.process.terminate()
        return {member.name: _end_of(member.process) for member in self.members}

    def _replace_until_over(self) -> None:
        while not self._over.wait(LOOK_EVERY):
            for member in self.members:
                if member.process.poll() is not None:
                    self._replace(member)

    def _replace(self, member: Member) -> None:
        if member.process.returncode != -signal.SIGKILL:
            self.gave_up += 1
            self._over.wait(PATIENCE)
        member.process = self._spawn(member.name, member.command)

    def _spawn(self, name: str, command: list[str]) -> subprocess.Popen[bytes]:
        with (self.folder / f"{name}.log").open("ab") as log:
            return subprocess.Popen(command, cwd=ROOT, env=self.environment, stdout=log, stderr=log)


def _end_of(process: subprocess.Popen[bytes]) -> int:
    try:
        return process.wait(STOP_WITHIN)
    except subprocess.TimeoutExpired:
        process.kill()
        return process.wait()
