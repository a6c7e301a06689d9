"""ordermill operators: who may sign in to the console."""

from __future__ import annotations

import io
import json

import pytest

from ordermill.session import actor, bare_database
from pipeline.storage import operators_log
from tests.ordermill.conftest import Run

PASSWORD = "correct horse battery"


@pytest.fixture
def type_in(monkeypatch: pytest.MonkeyPatch):  # type: ignore[no-untyped-def]
    return lambda text: monkeypatch.setattr("sys.stdin", io.StringIO(text))


def test_an_operator_is_made_with_a_password_from_a_pipe(run: Run, type_in) -> None:  # type: ignore[no-untyped-def]
    type_in(f"{PASSWORD}\n")

    code, told = run("operators", "create", "ada", "--role", "admin")
    _, listed = run("operators", "ls", "--json")

    assert (code, told) == (0, "Operator ada is made: admin.\n")
    [ada] = json.loads(listed)
    assert (ada["name"], ada["role"], ada["disabled_at"]) == ("ada", "admin", None)
    assert "argon2" not in listed


@pytest.mark.parametrize(
    ("name", "role", "password", "says"),
    [
        ("ada", "admin", "short", "the password has 5 characters, expected 10 to 256"),
        ("ada", "admin", "", "the password has 0 characters"),
        ("ada", "root", PASSWORD, "role: got 'root', expected viewer, operator, admin"),
        ("Ada!", "admin", PASSWORD, "name: got 'Ada!', expected 1 to 32 of a-z"),
    ],
)
def test_an_operator_that_can_not_be_is_refused_by_field(  # type: ignore[no-untyped-def]
    run: Run, type_in, name: str, role: str, password: str, says: str
) -> None:
    type_in(f"{password}\n")

    code, told = run("operators", "create", name, "--role", role)

    assert (code, says in told) == (2, True)
    assert json.loads(run("operators", "ls", "--json")[1]) == []


def test_a_name_is_given_once(run: Run, type_in) -> None:  # type: ignore[no-untyped-def]
    type_in(f"{PASSWORD}\n{PASSWORD}\n")
    run("operators", "create", "ada")

    assert run("operators", "create", "ada")[0] == 2


def test_a_role_is_changed_an_operator_disabled_and_let_in_again(run: Run, type_in) -> None:  # type: ignore[no-untyped-def]
    type_in(f"{PASSWORD}\n{PASSWORD}\n")
    run("operators", "create", "ada")

    run("operators", "set-role", "ada", "--role", "operator")
    run("operators", "disable", "ada")
    [off] = json.loads(run("operators", "ls", "--json")[1])
    run("operators", "password", "ada")
    [on] = json.loads(run("operators", "ls", "--json")[1])

    assert off["role"] == "operator"
    assert off["disabled_at"] is not None
    assert on["disabled_at"] is None


@pytest.mark.parametrize("command", [("disable",), ("set-role", "--role", "admin")])
def test_who_there_is_not_can_not_be_changed(run: Run, command: tuple[str, ...]) -> None:
    code, told = run("operators", command[0], "nobody", *command[1:])

    assert (code, "there is no operator 'nobody'" in told) == (2, True)


def test_without_any_the_list_says_how_to_make_one(run: Run) -> None:
    assert "ordermill operators create NAME" in run("operators", "ls")[1]


def test_what_commands_do_to_queues_is_in_the_operators_log(run: Run) -> None:
    run("queues", "pause", "pay")
    run("queues", "resume", "pay")

    with bare_database() as database, database.snapshot() as tx:
        found = operators_log.page(tx, 10)

    assert [(e["action"], e["target"], e["outcome"]) for e in reversed(found)] == [
        ("queue.pause", "pay", "done"),
        ("queue.resume", "pay", "done"),
    ]
    assert {e["operator"] for e in found} == {actor()}
