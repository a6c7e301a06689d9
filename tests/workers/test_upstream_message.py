"""An upstream system that shares the broker, as docs/intake.md tells it to be: a process of its own,
with nothing of ours in it, and a real Valkey between."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import redis

from pipeline.intake.accept import Verdict
from pipeline.settings import Settings
from pipeline.source import Policy
from tests.support import Mill
from tests.workers.test_process import dead_letters, eventually, running, worker_of

ROOT = Path(__file__).parents[2]
OURS = "{'pipeline', 'workers', 'scheduler', 'web', 'ordermill'}"


def block(language: str) -> str:
    """The example in that language under "By message"."""
    page = (ROOT / "docs" / "intake.md").read_text(encoding="utf-8").partition("## By message")[2]
    [found] = re.findall(rf"^```{language}\n(.*?)^```", page, re.DOTALL | re.MULTILINE)
    return str(found)


def with_dramatiq(broker_url: str, folder: Path) -> None:
    """The page's program, in a process that has dramatiq."""
    program = block("python").replace("redis://localhost:6379/0", broker_url)
    assert broker_url in program
    check = f"import sys\nassert not {OURS} & set(sys.modules), 'it has something of ours'\n"
    subprocess.run([sys.executable, "-c", program + check], cwd=folder, check=True, timeout=60)


def with_redis_alone(broker_url: str, _: Path) -> None:
    """The page's message, as another language would write it."""
    message = json.loads(block("json"))
    name = message["options"]["redis_message_id"]
    with redis.Redis.from_url(broker_url) as client:
        client.hset("ordermill:intake.msgs", name, json.dumps(message))
        client.rpush("ordermill:intake", name)


def the_readme_s_order() -> Any:
    page = (ROOT / "README.md").read_text(encoding="utf-8")
    return json.loads(re.findall(r"curl -s \S+/v1/orders .* -d '(.*)'", page)[0])


@pytest.mark.parametrize("settings", ["real"], indirect=True)
@pytest.mark.parametrize("enqueue", [with_dramatiq, with_redis_alone])
def test_the_readme_s_order_is_sent_as_a_message_and_confirmed(
    settings: Settings, shop: Mill, tmp_path: Path, enqueue: Callable[[str, Path], None]
) -> None:
    source = shop.another_source("web", Policy())
    worker = worker_of(settings)

    with running(worker):
        enqueue(settings.broker_url, tmp_path)
        eventually(
            lambda: (
                shop.query("SELECT external_id, status FROM orders") == [("web-2001", "confirmed")]
            )
        )

    # Whoever sends it over HTTP as well has it once.
    assert shop.intake.accept(source, the_readme_s_order()).verdict is Verdict.DUPLICATE
    assert shop.query("SELECT * FROM refusals") == []
    assert dead_letters(worker) == 0
