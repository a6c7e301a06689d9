"""The architecture, kept by a test: each contract in pyproject.toml is one, and says why."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from importlinter import api
from importlinter.application import use_cases
from importlinter.application.output import console

PYPROJECT = str(Path(__file__).parents[1] / "pyproject.toml")
CONTRACTS = [c["name"] for c in api.read_configuration(PYPROJECT)["contracts_options"]]


@pytest.fixture(scope="module")
def report() -> Any:
    options = use_cases.read_user_options(PYPROJECT)
    use_cases._register_contract_types(options)
    with console.capture():
        return use_cases.create_report(options, cache_dir=None)


@pytest.mark.parametrize("contract", CONTRACTS, ids=[name.split(":")[0] for name in CONTRACTS])
def test_contract(report: Any, contract: str) -> None:
    checks = {c.name: (c, check) for c, check in report.get_contracts_and_checks()}
    assert contract in checks, f"{contract!r} could not run: {report.invalid_contract_options}"

    broken, check = checks[contract]

    if not check.kept:
        with console.capture() as shown:
            broken.render_broken_contract(check)
        pytest.fail(f"{contract}\n\n{shown.get()}", pytrace=False)
