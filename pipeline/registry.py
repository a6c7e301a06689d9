"""What others may add to Ordermill by an entry point of theirs. The shipped ones are found the same way.

An entry point of the group `ordermill.gateways` is a line in somebody's pyproject.toml: a name, and the
object that it stands for. Only what is asked for is imported. Where nothing is installed (`make run`
installs what is required, not the project), the project's own pyproject.toml is read.
"""

from __future__ import annotations

import tomllib
from collections import Counter
from collections.abc import Mapping
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any

from pipeline.errors import ConfigurationError

_OURS = "ordermill"
_PYPROJECT = Path(__file__).parents[1] / "pyproject.toml"


@cache
def names(group: str) -> tuple[str, ...]:
    """What there is of a group, such as "gateways". ConfigurationError: two have one name."""
    counted = Counter(point.name for point in _points(group))
    if twice := sorted(name for name, number in counted.items() if number > 1):
        raise ConfigurationError(f"two distributions have a {group[:-1]} called {twice[0]}")
    return tuple(sorted(counted))


@cache
def load(group: str, name: str) -> Any:
    """The object of that name; KeyError: there is none. ConfigurationError: it can't be imported."""
    if name not in names(group):
        raise KeyError(name)
    [point] = (point for point in _points(group) if point.name == name)
    try:
        return point.load()
    except Exception as error:  # whatever its module raises, we say whose it is
        raise ConfigurationError(
            f"the {group[:-1]} {name} ({point.value}) can't be loaded: "
            f"{type(error).__name__}: {error}"
        ) from error


def _points(group: str) -> list[EntryPoint]:
    wanted = f"ordermill.{group}"
    installed = entry_points(group=wanted)
    declared = _declared()
    if declared is None:
        return list(installed)
    # A checkout may have changed since it was installed, if it ever was.
    ours = [EntryPoint(name, value, wanted) for name, value in declared[wanted].items()]
    return [*ours, *(p for p in installed if p.dist is None or p.dist.name != _OURS)]


@cache
def _declared() -> Mapping[str, Mapping[str, str]] | None:
    """The entry points in the pyproject.toml of this checkout; None: it is installed from a wheel."""
    if not _PYPROJECT.exists():
        return None
    project = tomllib.loads(_PYPROJECT.read_text("utf-8")).get("project", {})
    return project.get("entry-points") if project.get("name") == _OURS else None
