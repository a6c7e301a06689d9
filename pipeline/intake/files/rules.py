"""Rules of pricing as YAML: read from a file with every mistake named by its path, and written."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from ruamel.yaml import YAML
from ruamel.yaml.composer import Composer, ComposerError
from ruamel.yaml.constructor import SafeConstructor
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.events import AliasEvent
from ruamel.yaml.representer import SafeRepresenter

from pipeline.errors import InvalidInput
from pipeline.pricing.rules import Rules, told
from pipeline.problems import fit_to_show


class _AsWritten(SafeConstructor):
    """Leaves numbers and dates the text they are: SKU 0815 is not 815, nor 12E4 a hundred and
    twenty thousand. What a number or a date is meant to be, the model of the rules knows."""


for _tag in ("int", "float", "timestamp"):
    _AsWritten.add_constructor(f"tag:yaml.org,2002:{_tag}", SafeConstructor.construct_yaml_str)


class _WithoutAliases(Composer):
    """A few lines of aliases within aliases are a value of billions of parts, and every rule can be
    written without one."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.parser.check_event(AliasEvent):
            event = self.parser.get_event()
            raise ComposerError(
                None,
                None,
                f"the alias *{event.anchor}; write out what it stands for",
                event.start_mark,
            )
        return super().compose_node(parent, index)


class _Quoting(SafeRepresenter):
    """Quotes what begins with the mark of a key or of a value: bare, it is read as one."""

    def represent_str(self, data: str) -> Any:
        style = "'" if data.startswith(("?", ":")) else None
        return self.represent_scalar("tag:yaml.org,2002:str", data, style=style)


_Quoting.add_representer(str, _Quoting.represent_str)


class InvalidRules(InvalidInput):
    """A file that holds no rules; `problems` are lines such as
    `promotions.3.effect.percent: got 120, expected at most 100`."""

    def __init__(self, path: Path, problems: list[str]) -> None:
        super().__init__("\n".join([f"{path}:", *(f"  {problem}" for problem in problems)]))
        self.problems = problems


def read_rules(path: Path) -> Rules:
    """The rules in a file of YAML 1.2; InvalidRules names all that is wrong at once."""
    try:
        data = _yaml().load(_text_of(path))
        return Rules.model_validate(data)
    except OSError as error:
        raise InvalidInput(f"{path} can't be read: {error.strerror}") from None
    except ValidationError as error:
        raise InvalidRules(path, list(dict.fromkeys(_problems(error)))) from None
    except RecursionError:
        raise InvalidRules(path, ["not YAML that can be read: nested too deeply"]) from None
    except (YAMLError, UnicodeDecodeError) as error:
        raise InvalidRules(path, [f"not YAML: {_cause(error)}"]) from None


def write_rules(rules: Rules) -> str:
    """`rules` as YAML that `read_rules` reads back as the same."""
    text = io.StringIO()
    _yaml().dump(told(rules), text)
    return text.getvalue()


#: Bytes of a file of rules: some 10,000 promotions.
MOST_BYTES = 2_000_000


def _text_of(path: Path) -> str:
    size = path.stat().st_size
    if size > MOST_BYTES:
        raise InvalidInput(f"{path}: {size:,} bytes, of {MOST_BYTES:,} at most")
    return path.read_text("utf-8")


def _yaml() -> Any:  # its attributes are typed as what they are before they are set
    # Pure: libyaml, where it is installed, reads YAML 1.1, in which NO (Norway) is false.
    yaml: Any = YAML(typ="safe", pure=True)
    yaml.Constructor = _AsWritten
    yaml.Composer = _WithoutAliases
    yaml.Representer = _Quoting
    yaml.representer.ignore_aliases = lambda _value: True  # what we write we read
    yaml.default_flow_style = False
    yaml.allow_unicode = True
    yaml.sort_base_mapping_type_on_output = False
    return yaml


def _cause(error: Exception) -> str:
    if isinstance(error, MarkedYAMLError) and error.problem_mark is not None:
        mark = error.problem_mark
        return f"line {mark.line + 1}, column {mark.column + 1}: {error.problem}"
    return str(error).splitlines()[0]


def _problems(error: ValidationError) -> Iterator[str]:
    for each in error.errors():
        path = ".".join(map(str, _path(each["loc"]))) or "rules"
        message = each["msg"].removeprefix("Value error, ")
        for line in message.split("\n"):
            yield _problem(each, path, line)


def _path(loc: Sequence[int | str]) -> list[int | str]:
    """Where it stands in the file: pydantic says after `effect` which kind of effect it took it for."""
    path = list(loc)
    if len(path) > 3 and path[0] == "promotions" and path[2] == "effect":
        del path[3]
    return path


def _problem(error: Mapping[str, Any], path: str, message: str) -> str:
    kind, got = error["type"], _shown(error["input"])
    if kind == "missing":
        return f"{path}: got nothing, expected a value"
    if kind == "extra_forbidden":
        return f"{path}: got {got}, expected no such field"
    if kind.startswith("union_tag"):
        tag = error["input"].get("type") if isinstance(error["input"], dict) else None
        expected = error["ctx"].get("expected_tags", "a kind of effect")
        return f"{path}.type: got {_shown(tag)}, expected one of {expected}"
    if kind == "string_pattern_mismatch":
        return f"{path}: got {got}, expected a decimal number such as 4.90"
    for said in ("expected ", "Input should be "):
        if message.startswith(said):
            return f"{path}: got {got}, expected {message.removeprefix(said)}"
    # A rule over several fields names the one itself.
    return (
        message if path == "rules" else f"{path}{'.' if _names_field(message) else ': '}{message}"
    )


def _names_field(message: str) -> bool:
    return message.split(":", 1)[0].replace(".", "").isidentifier() and ": " in message


def _shown(value: Any) -> str:
    plain = value is None or isinstance(value, str | int | float)
    return fit_to_show(json.dumps(value, ensure_ascii=False) if plain else str(value))
