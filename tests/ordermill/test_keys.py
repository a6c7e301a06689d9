"""ordermill keys: made, shown once, rotated with overlap, revoked."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from tests.ordermill.conftest import Run


@pytest.fixture(autouse=True)
def source(run: Run) -> None:
    assert run("sources", "set", "web")[0] == 0


def make(run: Run, *options: object) -> str:
    code, said = run("keys", "create", *options, "--json")
    assert code == 0, said
    key: str = json.loads(said)["key"]
    return key


def keys(run: Run) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(run("keys", "ls", "--json")[1])
    return found


def test_a_key_is_shown_once_and_never_again(run: Run) -> None:
    code, said = run("keys", "create", "web", "--name", "storefront")

    key = said.split()[0]
    assert code == 0
    assert re.fullmatch(r"om_live_[0-9a-f]{12}_[0-9a-f]{64}", key)
    listed = run("keys", "ls", "--json")[1]
    assert key.split("_")[2] in listed
    assert key.split("_")[3] not in listed


def test_a_source_gets_what_is_usual_an_operator_all_he_may(run: Run) -> None:
    make(run, "web", "--name", "a")
    make(run, "--operator", "--name", "b", "--rate", 7)

    one, other = keys(run)
    assert (one["source"], one["scopes"]) == ("web", ["orders:read", "orders:write", "quotes"])
    assert (one["expires_at"], one["last_used_at"], one["state"]) == (None, None, "valid")
    assert (other["source"], other["rate"]) == (None, 7)
    assert "operate" in other["scopes"]
    assert "orders:write" not in other["scopes"]


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["web", "--operator"], "a key is for one source, or --operator"),
        ([], "a key is for one source, or --operator"),
        (["webb"], "there is no source named 'webb'"),
        (["web", "--scope", "stock:write"], "--scope: got stock:write, expected of a source's key"),
        (["--operator", "--scope", "quotes"], "--scope: got quotes, expected of an operator's key"),
        (["web", "--expires", "soon"], "--expires: got 'soon'"),
        (["web", "--rate", "0"], "--rate: got 0"),
    ],
)
def test_what_makes_no_key_says_so(run: Run, options: list[str], says: str) -> None:
    code, said = run("keys", "create", *options, "--name", "x")

    assert code == 2
    assert says in said
    assert keys(run) == []


def test_a_key_is_revoked_once(run: Run) -> None:
    key_id = make(run, "web", "--name", "a").split("_")[2]

    assert run("keys", "revoke", key_id) == (0, f"Key {key_id} is revoked.\n")
    assert run("keys", "revoke", key_id) == (0, f"Key {key_id} was revoked already.\n")
    assert keys(run)[0]["state"] == "revoked"


def test_its_successor_is_alike_and_the_old_one_ends_by_itself(run: Run) -> None:
    key_id = make(
        run, "web", "--name", "a", "--scope", "orders:read", "--expires", "90d", "--rate", 9
    ).split("_")[2]

    code, said = run("keys", "rotate", key_id, "--overlap", "1h", "--json")

    assert code == 0
    old, new = keys(run)
    assert new["id"] == json.loads(said)["key"].split("_")[2]
    for field in ("name", "source", "scopes", "rate"):
        assert new[field] == old[field]
    assert (old["state"], new["state"]) == ("valid", "valid")
    assert old["expires_at"][:10] < new["expires_at"][:10]


def test_without_overlap_the_old_one_ends_at_once(run: Run) -> None:
    key_id = make(run, "web", "--name", "a").split("_")[2]

    run("keys", "rotate", key_id, "--overlap", "0s")

    assert [key["state"] for key in keys(run)] == ["expired", "valid"]
    assert "is not valid any more" in run("keys", "rotate", key_id)[1]


def test_a_key_that_there_is_not_is_named(run: Run) -> None:
    for action in ("revoke", "rotate"):
        code, said = run("keys", action, "0123456789ab")

        assert (code, "there is no key '0123456789ab'" in said) == (2, True)
