"""What the client shows to the outside, and what it needs."""

from __future__ import annotations

import subprocess
import sys
from importlib.metadata import packages_distributions
from typing import get_args, get_type_hints, is_typeddict

import ordermill_client as client
import pytest
from ordermill_client import AsyncClient, Client, given
from ordermill_client.clients import _Operations
from pydantic import BaseModel

from pipeline.intake.schema import OrderIn
from web.api.shop_models import PriceIn


def test_all_that_is_meant_for_the_outside_is_named() -> None:
    assert client.__all__ == sorted(client.__all__)
    public = {name for name, value in vars(client).items()
              if not name.startswith("_") and type(value).__name__ != "module"}  # fmt: skip
    assert public == set(client.__all__)


def test_it_needs_httpx_and_pydantic_and_nothing_else() -> None:
    script = (
        "import sys, httpx, pydantic, pydantic_core; before = set(sys.modules)",
        "import ordermill_client",
        "print(*{m.split('.')[0] for m in set(sys.modules) - before})",
    )

    shown = subprocess.run(
        [sys.executable, "-c", ";".join(script)], capture_output=True, text=True, check=True
    )

    loaded = set(shown.stdout.split())
    theirs = {"pydantic", "annotated_types"}  # loads parts of itself when they are used
    ours = {"ordermill_client"}
    assert loaded >= ours
    assert (loaded - ours) & packages_distributions().keys() <= theirs


def test_both_clients_do_the_same() -> None:
    operations = {n for n, v in vars(_Operations).items() if not n.startswith("_") and callable(v.__get__)}  # fmt: skip

    for kind in (Client, AsyncClient):
        own = {name for name in vars(kind) if not name.startswith("_")}
        assert own == {"close"}
    assert all(getattr(Client, name).__doc__ for name in operations)


@pytest.mark.parametrize(
    ("typed", "model"),
    [(given.NewOrder, OrderIn), (given.NewPrice, PriceIn)],
)
def test_what_is_given_has_the_types_that_the_api_takes(
    typed: type, model: type[BaseModel]
) -> None:
    assert _differences(typed, model) == []


def _differences(typed: type, model: type[BaseModel]) -> list[str]:
    hints, fields = get_type_hints(typed), model.model_fields
    found = [f"{model.__name__}.{name}" for name in hints.keys() ^ fields.keys()]
    required = {name for name, field in fields.items() if field.is_required()}
    if required != typed.__required_keys__:  # type: ignore[attr-defined]
        found.append(f"{model.__name__}: {required ^ typed.__required_keys__}")  # type: ignore[attr-defined]
    for name in hints.keys() & fields.keys():
        nested = [t for t in _within(hints[name]) if is_typeddict(t)]
        models = [t for t in _within(fields[name].annotation) if _is_model(t)]
        if len(nested) != len(models):
            found.append(f"{model.__name__}.{name}")
        for one, other in zip(nested, models, strict=False):
            found += _differences(one, other)
    return found


def _within(hint: object) -> list[type]:
    inner = [t for arg in get_args(hint) for t in _within(arg)]
    return inner or ([hint] if isinstance(hint, type) else [])


def _is_model(kind: type) -> bool:
    return isinstance(kind, type) and issubclass(kind, BaseModel)
