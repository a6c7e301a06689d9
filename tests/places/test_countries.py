"""Countries are known by the codes and names that people write, by one function everywhere."""

from __future__ import annotations

from typing import Any

import pytest

from pipeline.intake.files.cleaning import country_of
from pipeline.intake.schema import InvalidOrder, read_order
from pipeline.places.countries import country_code
from pipeline.pricing.rules import Rules
from tests.support import an_order

WRITTEN = [
    ("DE", "DE"), ("de", "DE"), ("DEU", "DE"), ("Germany", "DE"), ("Deutschland", "DE"),
    ("XK", "XK"), ("Kosovo", "XK"), ("XI", "XI"), ("Northern Ireland", "XI"), ("IC", "IC"),
    ("UK", "GB"), ("U.K.", "GB"), ("Great Britain", "GB"), ("England", "GB"), ("EL", "GR"),
    ("The Netherlands", "NL"), ("Holland", "NL"), ("Russia", "RU"), ("Россия", "RU"),
    ("Turkey", "TR"), ("Türkiye", "TR"), ("Macau", "MO"), ("Reunion", "RE"), ("La Réunion", "RE"),
    ("UAE", "AE"), ("USA", "US"), ("U.S.A.", "US"), ("South Korea", "KR"), ("Österreich", "AT"),
    ("United States (US)", "US"), ("United Kingdom (UK)", "GB"), ("Northern Ireland (UK)", "XI"),
    ("N. Ireland", "XI"), ("The Gambia", "GM"), ("Bahamas, The", "BS"), ("Eesti", "EE"),
    ("Latvija", "LV"), ("Lietuva", "LT"), ("Slovenija", "SI"), ("Hrvatska", "HR"),
    ("България", "BG"), ("Saint Martin (French part)", "MF"), ("Saint Martin (Dutch part)", "SX"),
    ("Virgin Islands (British)", "VG"), ("Virgin Islands (US)", "VI"), ("Korea, South", "KR"),
    ("Congo (Kinshasa)", "CD"), ("Congo (Brazzaville)", "CG"), ("Hong Kong SAR China", "HK"),
    ("日本", "JP"), ("Czech Republic", "CZ"), ("Ivory Coast", "CI"), ("Swaziland", "SZ"),
]  # fmt: skip
UNKNOWN = [
    "XX",
    "France (US)",
    "The",
    "the " * 60 + "Gambia",
    "Atlantis",
    "Korea",
    "Germoney",
    "?",
    " ",
]


def sent(country: str) -> dict[str, Any]:
    return an_order(external_id="web-1", ship_to={"country": country})


@pytest.mark.parametrize(("written", "code"), WRITTEN)
def test_what_people_write_becomes_the_code_in_json_rules_and_files_alike(
    written: str, code: str
) -> None:
    zone = {"name": "z", "country": written, "rates": {}}
    rules = Rules.model_validate({"tax": {"zones": [zone]}})

    assert country_code(written) == code
    assert f'"country":"{code}"' in read_order(sent(written)).body
    assert rules.tax.zones[0].country == code
    assert country_of(written, {}) == code


@pytest.mark.parametrize(("written", "code"), WRITTEN)
def test_an_order_is_the_same_order_however_its_country_is_written(written: str, code: str) -> None:
    assert read_order(sent(written)).digest == read_order(sent(code)).digest


@pytest.mark.parametrize("written", UNKNOWN)
def test_what_is_no_country_or_could_be_two_is_refused(written: str) -> None:
    with pytest.raises(InvalidOrder, match="a country, by its ISO 3166-1 code or its name"):
        read_order(sent(written))


def test_a_text_of_any_length_is_read_at_once() -> None:
    assert country_code("the " * 100_000 + "Gambia") is None
    assert country_code("(" * 100_000) is None
