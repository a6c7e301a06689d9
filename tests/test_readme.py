"""The README's transcript is run as it stands, so that it can't drift from what the commands do."""

import os
import re
import shlex
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.ports import free_port
from ordermill import output
from ordermill.main import main

ROOT = Path(__file__).parent.parent
#: Seconds for what the background process is about to do.
PATIENCE = 15.0


def transcript() -> Iterator[tuple[str, set[str]]]:
    """Each command of the README's console blocks, with the words that its output must have."""
    page = (ROOT / "README.md").read_text(encoding="utf-8")
    for block in re.findall(r"^```console\n(.*?)^```", page, re.DOTALL | re.MULTILINE):
        for command, shown in re.findall(r"^\$ (.+)\n((?:(?!\$ ).*\n)*)", block, re.MULTILINE):
            yield command, {word for word in shown.split() if not differs(word)}


def differs(word: str) -> bool:
    """Whether `word` is another one in each run: a time, or cut short."""
    return "…" in word or re.fullmatch(r"\d{4}-\d\d-\d\d|\d\d:\d\d:\d\d", word) is not None


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A home of its own, and a terminal that is wide enough."""
    for name in [name for name in os.environ if name.startswith("ORDERMILL_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("ORDERMILL_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(ROOT)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setenv("COLUMNS", "250")  # for the background process
    monkeypatch.setattr(output.console, "width", 250)  # made before we came


@pytest.fixture
def started() -> Iterator[list[subprocess.Popen[str]]]:
    """The commands that go on in the background; they are stopped at the end."""
    processes: list[subprocess.Popen[str]] = []
    yield processes
    for process in processes:
        process.terminate()
    for process in processes:
        process.communicate(timeout=30)


def test_the_readmes_commands_do_what_it_shows(
    started: list[subprocess.Popen[str]],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    told = list(transcript())
    here, key = f"127.0.0.1:{free_port()}", ""

    for command, words in told:
        # Another server may be at the README's address.
        words = {word.replace("127.0.0.1:8000", here) for word in words}
        command = command.replace("127.0.0.1:8000", here).replace("$KEY", key)
        if command.endswith("&"):
            port = f" --port {here.split(':')[1]}" if " up " in command else ""
            started.append(begin(command.removesuffix("&") + port))
            said = first_line(started[-1])
            assert words <= set(said.split()), f"$ {command}\n{said}"
            continue
        give_up = time.monotonic() + (PATIENCE if started else 0.0)
        while True:
            code, said = run(command, monkeypatch, capsys)
            absent = words - set(said.split())
            if code or not absent or time.monotonic() > give_up:
                break
            time.sleep(0.2)

        assert code == 0, f"$ {command}\n{said}"
        assert not absent, f"$ {command}\n{said}"
        key = next((word for word in said.split() if word.startswith("om_live_")), key)
        monkeypatch.setenv("KEY", key)
    assert len(told) >= 10, "the README's transcript was not found"
    assert [process.poll() for process in started] == [None], "`up` has ended"


def run(
    command: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> tuple[int, str]:
    """Run `command` in this process, which spares a start for each; its exit code and output."""
    if command.startswith(("curl ", "python ")):
        argv = [sys.executable if word == "python" else word for word in shlex.split(command)]
        done = subprocess.run(argv, capture_output=True, text=True)
        return done.returncode, done.stdout + done.stderr
    monkeypatch.setattr(sys, "argv", shlex.split(command))
    capsys.readouterr()
    with pytest.raises(SystemExit) as ended:
        main()
    return int(ended.value.code or 0), "".join(capsys.readouterr())


def begin(command: str) -> subprocess.Popen[str]:
    """Start `command` in a process of its own."""
    _ordermill, *arguments = shlex.split(command)
    return subprocess.Popen(
        [sys.executable, "-m", "ordermill", *arguments], text=True, stdout=subprocess.PIPE
    )


def first_line(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline()
