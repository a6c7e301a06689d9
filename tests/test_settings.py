"""Settings that a stranger could profit from are refused, and what is secret in them is not shown."""

from __future__ import annotations

from pathlib import Path

import pytest

from pipeline.check import check
from pipeline.errors import ConfigurationError
from pipeline.redaction import redact
from pipeline.settings import LEAST_SECRET, Settings, load_settings
from pipeline.storage.database import Database

PASSWORD = "topsecretpw"


@pytest.mark.parametrize("secret", ["a", "x" * (LEAST_SECRET - 1)])
def test_a_secret_that_can_be_guessed_is_refused(
    monkeypatch: pytest.MonkeyPatch, secret: str
) -> None:
    monkeypatch.setenv("ORDERMILL_WEBHOOK_SECRET", secret)

    with pytest.raises(ConfigurationError) as refused:
        load_settings()

    said = str(refused.value)
    assert "ORDERMILL_WEBHOOK_SECRET" in said
    assert f"at least {LEAST_SECRET} characters" in said
    assert "(withheld)" in said


def test_a_secret_of_that_length_is_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ORDERMILL_WEBHOOK_SECRET", "x" * LEAST_SECRET)

    assert load_settings().webhook_secret.get_secret_value() == "x" * LEAST_SECRET


@pytest.mark.parametrize(
    "url",
    [
        f"redis://127.0.0.1:1/0?password={PASSWORD}",
        f"redis://127.0.0.1:1/0?db=1&password={PASSWORD}&timeout=1",
        f"rediss://127.0.0.1:1?ssl_password={PASSWORD}",
        f"redis://user:{PASSWORD}@127.0.0.1:1",
        f"postgresql://h/shop?user=u&password={PASSWORD}",
        f"postgresql://h/shop?sslpassword={PASSWORD}",
    ],
)
def test_a_password_in_a_url_is_in_no_log(url: str) -> None:
    assert PASSWORD not in redact(f"can't reach {url}: refused")


@pytest.mark.parametrize(
    "query", [f"?password={PASSWORD}", f"?socket_timeout=1&password={PASSWORD}"]
)
def test_check_shows_no_password_of_the_brokers_url(
    query: str, sqlite_database: Database, tmp_path: Path
) -> None:
    settings = Settings(_env_file=None, home=tmp_path, broker_url=f"redis://127.0.0.1:1/0{query}")

    found = check(settings, sqlite_database)

    assert "127.0.0.1:1" in str(found)
    assert PASSWORD not in str(found)


def test_check_shows_no_password_of_the_databases_url(tmp_path: Path) -> None:
    url = f"postgresql://127.0.0.1:1/shop?user=u&password={PASSWORD}&sslpassword={PASSWORD}"
    database = Database(url)

    found = check(Settings(_env_file=None, home=tmp_path, database_url=url), database)
    database.close()

    assert "127.0.0.1:1" in str(found)
    assert PASSWORD not in str(found)


@pytest.mark.parametrize(
    "url",
    [
        f"redis://:{PASSWORD}%40@h/0",
        f"redis://h/0?a=b&password={PASSWORD}%40",
        f"postgresql://u:{PASSWORD}%40@h1,h2:5433/shop",
        f"postgresql://h/shop?sslpassword={PASSWORD}%40",
    ],
)
@pytest.mark.parametrize("setting", ["broker_url", "database_url"])
def test_passwords_of_urls_are_known_as_secrets(setting: str, url: str) -> None:
    known = Settings(_env_file=None, **{setting: url}).secrets  # type: ignore[arg-type]

    assert {f"{PASSWORD}@", f"{PASSWORD}%40"} <= set(known)


@pytest.mark.parametrize(
    ("address", "password"),
    [
        (f"host=a,b user=u password={PASSWORD} dbname=shop", PASSWORD),
        (f"password = {PASSWORD}", PASSWORD),
        (r"password='it\'s a secret' host=a", "it's a secret"),
        (f"host=a sslpassword={PASSWORD}", PASSWORD),
    ],
)
def test_passwords_of_addresses_by_keyword_are_known_as_secrets(
    address: str, password: str
) -> None:
    assert password in Settings(_env_file=None, database_url=address).secrets
