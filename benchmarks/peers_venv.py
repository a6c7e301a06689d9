"""A venv for the peers, so that the project's own interpreter needs none of them."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
VENV = ROOT / ".venv-peers"
REQUIREMENTS = Path(__file__).parent / "peers" / "requirements.txt"
INSTALLED = VENV / "installed-requirements.txt"


def python() -> Path:
    """The interpreter of the peers' venv, created or brought up to date if need be."""
    if not _up_to_date():
        _install()
    return _interpreter()


def _up_to_date() -> bool:
    return INSTALLED.exists() and INSTALLED.read_text() == REQUIREMENTS.read_text()


def _install() -> None:
    print(f"Installing the peers into {VENV.name} …", file=sys.stderr)
    subprocess.run([sys.executable, "-m", "venv", str(VENV)], check=True)
    pip = [str(_interpreter()), "-m", "pip", "install", "--quiet", "--requirement"]
    subprocess.run([*pip, str(REQUIREMENTS)], check=True, stdout=sys.stderr)
    INSTALLED.write_text(REQUIREMENTS.read_text())


def _interpreter() -> Path:
    return VENV / "bin" / "python"
