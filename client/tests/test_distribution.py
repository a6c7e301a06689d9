"""The built client, installed beside a project that has packages called as some of the server's."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import zipfile
from importlib.metadata import distribution
from pathlib import Path

import pytest

from tests.support import Mill
from tests.web.conftest import MakeKey

CLIENT = Path(__file__).parents[1]
NEEDED = ("httpx", "pydantic")
BUILD = "from setuptools.build_meta import build_wheel; print(build_wheel('dist'))"
SEND = """
import os, sys
import pipeline, web
from ordermill_client import Client

order = {
    "external_id": "a-1", "currency": "USD", "customer": {"email": "ada@example.com"},
    "ship_to": {"country": "US"}, "lines": [{"sku": "MUG-01", "quantity": 1}],
}
with Client(sys.argv[1], os.environ["KEY"]) as client:
    print(client.place(order).verdict, pipeline.MINE, web.MINE)
"""


@pytest.fixture
def wheel(tmp_path: Path) -> Path:
    source = tmp_path / "client"
    shutil.copytree(CLIENT, source, ignore=shutil.ignore_patterns("tests", "*.egg-info", "build"))
    built = subprocess.run(
        [sys.executable, "-c", BUILD], cwd=source, check=True, capture_output=True, text=True
    )
    return source / "dist" / built.stdout.splitlines()[-1]


@pytest.fixture
def project(tmp_path: Path) -> Path:
    folder = tmp_path / "project"
    for package in ("pipeline", "web"):
        (folder / package).mkdir(parents=True)
        (folder / package / "__init__.py").write_text("MINE = 'mine'\n")
    (folder / "send.py").write_text(SEND)
    return folder


@pytest.fixture
def installed(wheel: Path, tmp_path: Path) -> Path:
    """A folder with the wheel and what it needs, and with nothing else."""
    site = tmp_path / "site"
    with zipfile.ZipFile(wheel) as packed:
        packed.extractall(site)
    for name in sorted(_closure(NEEDED)):
        for file in distribution(name).files or ():
            top = file.parts[0]
            if top not in ("..", "__pycache__") and not (site / top).exists():
                (site / top).symlink_to(distribution(name).locate_file(top))
    return site


def test_it_sends_an_order_from_a_project_that_has_a_web_and_a_pipeline_of_its_own(
    project: Path, installed: Path, url: str, make_key: MakeKey, shop: Mill
) -> None:
    environment = {**os.environ, "KEY": make_key(), "PYTHONPATH": f"{project}:{installed}"}

    sent = subprocess.run(
        [sys.executable, "-S", "send.py", url],
        cwd=project, env=environment, capture_output=True, text=True,
    )  # fmt: skip

    assert (sent.stdout, sent.stderr) == ("accepted mine mine\n", "")
    assert shop.query("SELECT external_id FROM orders") == [("a-1",)]


def test_it_brings_the_client_alone_and_asks_for_httpx_and_pydantic(wheel: Path) -> None:
    with zipfile.ZipFile(wheel) as packed:
        names = packed.namelist()
        [metadata] = [name for name in names if name.endswith("/METADATA")]
        asked = re.findall(r"^Requires-Dist: (\w+)", packed.read(metadata).decode(), re.MULTILINE)

    assert {name.split("/")[0] for name in names if ".dist-info/" not in name} == {
        "ordermill_client"
    }
    assert "ordermill_client/py.typed" in names
    assert tuple(asked) == NEEDED


@pytest.mark.parametrize(
    "written",
    ["from ordermill.client import Client", "from ordermill.client.errors import NoAnswer"],
)
def test_where_it_was_says_where_it_went(written: str) -> None:
    with pytest.raises(ImportError, match="from ordermill_client import Client"):
        exec(written)


def _closure(names: tuple[str, ...]) -> set[str]:
    """These distributions and all that they need, extras apart."""
    found: set[str] = set()
    left = list(names)
    while left:
        if (name := left.pop()) in found:
            continue
        found.add(name)
        for requirement in distribution(name).requires or ():
            if "extra ==" not in requirement and "python_version <" not in requirement:
                left.append(re.split(r"[^\w.-]", requirement)[0])
    return found
