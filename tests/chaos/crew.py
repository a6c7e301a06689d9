"""The processes of a home, and a supervisor that starts anew whatever ends."""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

ROOT = Path(__file__).parents[2]
LOOK_EVERY = 0.05
#: Seconds before a process that ended by itself is started again; one that was killed comes at once.
PATIENCE = 0.3
STOP_WITHIN = 60.0
#: A device that is always full: what is logged there is lost as on a full disk.
FULL = Path("/dev/full")


def commands() -> dict[str, list[str]]:
    """What the Procfile starts, by name, with this very interpreter; and `up`."""
    lines = (ROOT / "Procfile").read_text().splitlines()
    named = dict(line.split(":", 1) for line in lines if ":" in line) | {"up": "ordermill up"}
    return {name: _command(line) for name, line in named.items()}


def _command(line: str) -> list[str]:
    program, *arguments = shlex.split(line)
    return [sys.executable, "-m", program, *arguments]


@dataclass(slots=True)
class Member:
    """One process of the crew: `name` is for ever, `process` the one that bears it now. The next one
    is started with `more` in its environment, and writes to `log` rather than to its own file."""

    name: str
    command: list[str]
    process: subprocess.Popen[bytes]
    is_stopped: bool = False
    more: Mapping[str, str] = field(default_factory=dict)
    log: Path | None = None
    kills: int = 0

    @property
    def role(self) -> str:
        return self.name.split(".")[0]


@dataclass(slots=True)
class Crew:
    """Runs members and replaces them as they end. `gave_up` counts those that ended by themselves, by
    name and code (a process that comes up while the database is down does, and may)."""

    folder: Path
    environment: Mapping[str, str]
    members: list[Member] = field(default_factory=list)
    gave_up: Counter[str] = field(default_factory=Counter)
    _over: threading.Event = field(default_factory=threading.Event)
    _watch: threading.Thread | None = None

    def start(
        self, roles: Mapping[str, int], more: Mapping[str, list[str]] = MappingProxyType({})
    ) -> None:
        """`roles`: how many of each command; `more` arguments, by name."""
        known = {name: [*given, *more.get(name, [])] for name, given in commands().items()}
        for role, number in roles.items():
            for n in range(1, number + 1):
                name = f"{role}.{n}"
                process = self._spawn(name, known[role], {}, None)
                self.members.append(Member(name, known[role], process))
        self._watch = threading.Thread(target=self._replace_until_over, name="crew", daemon=True)
        self._watch.start()

    def up(self) -> Sequence[Member]:
        """Those that are not frozen."""
        return [member for member in self.members if not member.is_stopped]

    def kill(self, member: Member) -> None:
        member.kills += 1
        member.process.kill()

    def freeze(self, member: Member) -> None:
        """SIGSTOP: it holds what it holds, and knows nothing of the time that goes by."""
        os.kill(member.process.pid, signal.SIGSTOP)
        member.is_stopped = True

    def thaw(self, member: Member) -> None:
        member.is_stopped = False
        os.kill(member.process.pid, signal.SIGCONT)

    def command(self, *arguments: str, within: float = 120.0) -> subprocess.CompletedProcess[str]:
        """An operator's command, beside the processes."""
        return subprocess.run(
            [sys.executable, "-m", "ordermill", *arguments], cwd=ROOT, env=self.environment,
            capture_output=True, text=True, timeout=within, check=False,
        )  # fmt: skip

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
            self.gave_up[f"{member.name} with {member.process.returncode}"] += 1
            self._over.wait(PATIENCE)
        member.process = self._spawn(member.name, member.command, member.more, member.log)

    def _spawn(
        self, name: str, command: list[str], more: Mapping[str, str], log: Path | None
    ) -> subprocess.Popen[bytes]:
        environment = {**self.environment, **more}
        with (log or self.folder / f"{name}.log").open("ab") as out:
            return subprocess.Popen(
                command, cwd=ROOT, env=environment, stdout=out, stderr=out, start_new_session=True
            )  # as a service manager does: Ctrl-C is for whoever runs the trial


def _end_of(process: subprocess.Popen[bytes]) -> int:
    try:
        return process.wait(STOP_WITHIN)
    except subprocess.TimeoutExpired:
        process.kill()
        return process.wait()
