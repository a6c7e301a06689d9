"""The changes that docs/changing.md describes, made in a copy of the project by its steps alone."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
CODE = ("pipeline", "workers", "scheduler", "web", "ordermill", "tests", "benchmarks", "docs")
FILES = ("pyproject.toml", "Procfile", "README.md")

#: A busy machine runs the copy's tests in minutes.
pytestmark = [pytest.mark.timeout(900), pytest.mark.second]


class Copy:
    """The project, in a folder where it may be changed."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for name in CODE:
            shutil.copytree(
                ROOT / name, folder / name, ignore=shutil.ignore_patterns("__pycache__")
            )
        for name in FILES:
            shutil.copy(ROOT / name, folder / name)

    def add(self, path: str, text: str) -> None:
        assert not (self.folder / path).exists()
        (self.folder / path).write_text(text)

    def edit(self, path: str, *changes: tuple[str, str]) -> None:
        text = (self.folder / path).read_text()
        for before, after in changes:
            assert before in text, f"{path} has no {before!r}"
            text = text.replace(before, after)
        (self.folder / path).write_text(text)

    def test(self, *arguments: str) -> str:
        """What its tests say; they pass."""
        run = subprocess.run(
            [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *arguments],
            cwd=self.folder, capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert run.returncode == 0, run.stdout[-5_000:] + run.stderr[-2_000:]
        return run.stdout

    def run(self, module: str, *arguments: str) -> str:
        """What a command prints, in a home of its own."""
        environment = {**os.environ, "ORDERMILL_HOME": str(self.folder / "home")}
        for given in (("db", "upgrade"), arguments):
            run = subprocess.run(
                [sys.executable, "-m", module, *given],
                cwd=self.folder, env=environment, capture_output=True, text=True, check=False,
            )  # fmt: skip
            assert run.returncode == 0, run.stdout + run.stderr
        return run.stdout


@pytest.fixture
def copy(tmp_path: Path) -> Copy:
    return Copy(tmp_path / "copy")


SCREEN = '''"""screen: priced → screened. Does anybody want to look at this order first?

In:  an order with its price.
Out: Advance; Hold, above a limit.
"""

from __future__ import annotations

from collections.abc import Sequence

from pipeline.order import Order
from pipeline.outcome import Advance, Outcome
from pipeline.stages.step import InnerStep
from pipeline.storage.database import Tx


class Screen(InnerStep):
    def settle(self, tx: Tx, orders: Sequence[Order], findings: None) -> list[Outcome]:
        return [Advance() for _ in orders]
'''


def test_a_stage_goes_into_both_chains(copy: Copy) -> None:
    copy.edit(
        "pipeline/order.py",
        ('    PAID = "paid"\n', '    SCREENED = "screened"\n    PAID = "paid"\n'),
        (
            "    _S.PRICED: frozenset(\n        {_S.PAID,",
            "    _S.PRICED: frozenset({_S.SCREENED, _S.REJECTED, _S.ON_HOLD, _S.CANCELLED}),\n"
            "    _S.SCREENED: frozenset(\n        {_S.PAID,",
        ),
        (
            "_S.PRICED, _S.PAID, _S.RESERVED, _S.BACK",
            "_S.PRICED, _S.SCREENED, _S.PAID, _S.RESERVED, _S.BACK",
        ),
        ("_S.CANCELLED: frozenset({_S.PRICED})", "_S.CANCELLED: frozenset({_S.SCREENED})"),
    )
    copy.edit(
        "pipeline/chain.py",
        (
            'Link("price", Status.VALIDATED, Status.PRICED),\n',
            'Link("price", Status.VALIDATED, Status.PRICED),\n'
            '        Link("screen", Status.PRICED, Status.SCREENED),\n',
        ),
        ('Link("pay", Status.PRICED', 'Link("pay", Status.SCREENED'),
        ('Link("reserve", Status.PRICED', 'Link("reserve", Status.SCREENED'),
    )
    copy.add("pipeline/stages/screen.py", SCREEN)
    copy.edit(
        "pipeline/assembly.py",
        (
            "from pipeline.stages.step import Step\n",
            "from pipeline.stages.screen import Screen\nfrom pipeline.stages.step import Step\n",
        ),
        ('        "price": ', '        "screen": Screen(),\n        "price": '),
    )
    copy.test(
        "-k",
        "sqlite",
        "tests/payments/test_pay.py",
        "tests/payments/test_undo_pay.py",
        "tests/payments/test_events.py",
    )


CHEQUES = '''"""Cheques: people record what comes."""

from __future__ import annotations

from pipeline.payments.gateways import GatewayKind
from pipeline.payments.manual import ManualGateway


class Cheques(ManualGateway):
    name = "cheques"


KIND = GatewayKind(lambda settings: Cheques(), moves_money=False)
'''

PAID_BY_CHEQUE = """
import pytest
from pipeline import operations
from pipeline.assembly import open_gateways
from pipeline.audit.audit import audit
from pipeline.errors import InvalidInput
from pipeline.settings import Settings
from pipeline.source import Policy
from tests.support import Mill


def test_it(sqlite_database, tmp_path):
    gateways = open_gateways(Settings(_env_file=None, home=tmp_path))
    policy = Policy(gateway="cheques")
    mill = Mill(sqlite_database, gateway=gateways["cheques"], policy=policy).stocked()
    order = mill.accept(payment={"method": "invoice"})
    mill.turn()
    assert mill.status(order) == "confirmed"
    with pytest.raises(InvalidInput, match="by hand"), sqlite_database.transaction() as tx:
        operations.capture(tx, order, "ada")
    with sqlite_database.transaction() as tx:
        operations.record_payment(tx, order, "ada", reference="cheque 17")
        operations.cancel(tx, order, "ada")
    mill.turn()
    assert mill.status(order) == "on_hold"  # until somebody has paid it back
    assert audit(sqlite_database, gateways).is_clean
"""


def test_a_gateway_that_moves_no_money_is_a_file_and_a_line(copy: Copy) -> None:
    copy.add("pipeline/payments/kinds/cheques.py", CHEQUES)
    copy.edit(
        "pyproject.toml",
        (
            '[project.entry-points."ordermill.gateways"]\n',
            '[project.entry-points."ordermill.gateways"]\n'
            'cheques = "pipeline.payments.kinds.cheques:KIND"\n',
        ),
    )
    copy.add("tests/test_cheques.py", PAID_BY_CHEQUE)

    copy.test("tests/test_cheques.py")


COUNT_ORDERS = '''"""count-orders: how many there are."""

from __future__ import annotations

from pipeline.assembly import Application
from scheduler.job import Cron, Job


def count_orders(app: Application) -> dict[str, int]:
    return {"orders": 0}


JOB = Job("count-orders", Cron("0 4 * * *"), "count the orders", count_orders)
'''


def test_a_job_is_a_file(copy: Copy) -> None:
    copy.add("scheduler/jobs/count_orders.py", COUNT_ORDERS)

    listed = copy.run("ordermill", "jobs", "ls")
    ran = copy.run("ordermill", "jobs", "run", "count-orders", "--wait")

    assert "count-orders" in listed
    assert "count-orders" in ran
