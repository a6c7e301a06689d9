"""What people write of themselves is taken as it is, unless it could do harm."""

from __future__ import annotations

import copy
import json
import unicodedata
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.intake.schema import InvalidOrder, read_order
from pipeline.problems import Problem, fit_to_show
from pipeline.text import harmless, legible

ORDER: dict[str, Any] = {
    "external_id": "web-1001",
    "currency": "EUR",
    "customer": {},
    "ship_to": {"country": "JP"},
    "lines": [{"sku": "MUG-01", "quantity": 2}],
}
ON_ONE_LINE = ["customer.name"]
ON_SEVERAL = [
    "ship_to.street", "ship_to.city", "ship_to.region", "ship_to.postal_code", "bill_to.street",
    "metadata.gift_message",
]  # fmt: skip


def order(field: str, value: Any) -> dict[str, Any]:
    changed = copy.deepcopy(ORDER)
    changed["bill_to"] = {"country": "DE"}
    parent, _, name = field.rpartition(".")
    (changed.setdefault(parent, {}) if parent else changed)[name] = value
    return changed


def kept(field: str, value: Any) -> Any:
    """What is stored of it; None if nothing is."""
    found = json.loads(read_order(order(field, value)).body)
    parent, _, name = field.rpartition(".")
    return (found.get(parent, {}) if parent else found).get(name)


def problem(field: str, value: Any) -> Problem:
    with pytest.raises(InvalidOrder) as refused:
        read_order(order(field, value))
    (found,) = refused.value.problems
    return found


# --- Names, streets, messages ---------------------------------------------------------------------

WRITTEN = {
    "typographic apostrophe": "O\u2019Toole",
    "ideographic space": "山田\u3000太郎",
    "no-break space": "Dr.\u00a0Ada",
    "narrow no-break space": "Rue\u202f12",
    "zero-width non-joiner, in Persian": "علی\u200cرضا",
    "zero-width joiner, in Sinhala": "ක්\u200dෂ",
    "right-to-left mark": "שלום\u200f 12",
    "Arabic letter mark": "\u061cعلي",
    "soft hyphen": "Haupt\u00adstraße",
    "byte order mark, pasted": "\ufeffAda",
    "variant of an ideograph": "葛\U000e0100城",
    "private use, in Hong Kong's names": "\ue000",
    "a sign newer than this Python": "\U0001fadc",
    "a family": "👩\u200d👧",
    "Scotland's flag": "🏴\U000e0067\U000e0062\U000e0073\U000e0063\U000e0074\U000e007f",
}


@pytest.mark.parametrize("field", ON_ONE_LINE + ON_SEVERAL)
@pytest.mark.parametrize("text", WRITTEN.values(), ids=WRITTEN)
def test_every_sign_that_a_script_or_a_keyboard_has_is_kept(field: str, text: str) -> None:
    assert kept(field, text) == text


@pytest.mark.parametrize("field", ON_SEVERAL)
@pytest.mark.parametrize("written", ["\n", "\r\n", "\u2028", "\u2029"])
def test_a_line_break_in_an_address_or_a_message_is_kept_in_its_one_form(
    field: str, written: str
) -> None:
    assert kept(field, f"12 High Street{written}Flat 3") == "12 High Street\nFlat 3"


@pytest.mark.parametrize("written", ["\n", "\r\n", "\u2028", "\u2029"])
def test_a_name_stands_on_one_line(written: str) -> None:
    found = problem("customer.name", f"Ada{written}Lovelace")

    assert found.field == "customer.name"
    assert "line break" in found.expected


def _harmful() -> Iterator[str]:
    yield from (chr(n) for n in range(0x20) if chr(n) != "\n")
    yield from map(chr, range(0x7F, 0xA0))
    yield from map(chr, (*range(0x202A, 0x202F), *range(0x2066, 0x206A)))  # direction
    yield from ("\ud800", "\udfff")  # halves of characters
    yield from ("\ufdd0", "\uffff", "\U0010fffe")  # no characters
    yield from ("\U000e0001", "\U000e0041")  # letters that nobody sees


@pytest.mark.parametrize("field", ["customer.name", "ship_to.street", "metadata.gift_message"])
def test_what_could_do_harm_is_refused_by_its_name(field: str) -> None:
    for sign in _harmful():
        found = problem(field, f"Ada{sign}Lovelace")

        assert found.field == field
        assert found.value.isprintable()
        names = ["line break" if sign == "\r" else f"U+{ord(sign):04X}", "surrogates"]
        assert any(name in found.expected for name in names)


@given(st.text(max_size=60))
def test_text_is_kept_or_refused_and_what_is_kept_can_be_stored_and_shown(text: str) -> None:
    try:
        found = harmless(text, breaks=True)
    except ValueError:
        return

    found.encode()
    assert found.splitlines() == [] or "\x00" not in found
    assert all(sign == "\n" or unicodedata.category(sign) not in ("Cc", "Cs") for sign in found)
    assert harmless(found, breaks=True) == found


@given(st.text(max_size=60))
def test_whatever_is_shown_stands_on_one_line_and_moves_no_cursor(text: str) -> None:
    for shown in (legible(text), fit_to_show(text)):
        assert len(shown.splitlines()) <= 1
        assert all(unicodedata.category(sign) not in ("Cc", "Cs") for sign in shown)


# --- "" says nothing ------------------------------------------------------------------------------

OPTIONAL = [
    "customer.email", "customer.name", "customer.id", "customer.group", "customer.vat_id",
    "ship_to.postal_code", "ship_to.city", "ship_to.region", "ship_to.street", "bill_to.street",
    "shipping_method", "metadata.gift_message",
]  # fmt: skip


@pytest.mark.parametrize("field", OPTIONAL)
def test_an_empty_text_is_a_field_left_out(field: str) -> None:
    without = order(field, "x")
    parent, _, name = field.rpartition(".")
    del (without[parent] if parent else without)[name]

    assert kept(field, "") is None
    assert read_order(order(field, "")).digest == read_order(without).digest


def test_an_address_to_bill_to_that_is_empty_all_through_is_none() -> None:
    empty = {**ORDER, "bill_to": {"country": "", "street": "", "city": None}}

    assert read_order(empty).digest == read_order(ORDER).digest


@pytest.mark.parametrize("field", ["external_id", "ship_to.country", "currency"])
def test_what_must_be_there_is_not_there_when_it_is_empty(field: str) -> None:
    assert problem(field, "").field == field


@pytest.mark.parametrize("field", ["customer.age", "voucher"])
def test_a_field_that_there_is_not_is_refused_even_if_it_is_empty(field: str) -> None:
    assert problem(field, "").expected == "no such field"


# --- Mail addresses -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("written", "kept_as"),
    [
        ("taro..y@docomo.ne.jp", "taro..y@docomo.ne.jp"),
        ("taro.@docomo.ne.jp", "taro.@docomo.ne.jp"),
        (".taro@ezweb.ne.jp", ".taro@ezweb.ne.jp"),
        ('"taro."@docomo.ne.jp', '"taro."@docomo.ne.jp'),
        ("Buyer@Shop.Local", "Buyer@shop.local"),
        ("ada@example..com", "ada@example..com"),
        ("ada@exa_mple.com", "ada@exa_mple.com"),
        (" ada@example.com\u200b", "ada@example.com"),
        ("ada＠example.com", "ada@example.com"),
        ("ａｄａ＠ｅｘａｍｐｌｅ．ｃｏｍ", "ada@example.com"),
    ],
)
def test_an_address_that_mail_may_never_reach_is_no_reason_to_refuse_an_order(
    written: str, kept_as: str
) -> None:
    assert kept("customer.email", written) == kept_as


@pytest.mark.parametrize(
    ("written", "kept_as"),
    [
        ("Ada@EXAMPLE.com", "Ada@example.com"),
        ("Ada <ada@example.com>", "ada@example.com"),
        ("jörg@MÜLLER.de", "jörg@müller.de"),
        ("o'brien+x@example.com", "o'brien+x@example.com"),
    ],
)
def test_an_address_that_mail_can_be_sent_to_has_one_form(written: str, kept_as: str) -> None:
    assert kept("customer.email", written) == kept_as


@pytest.mark.parametrize(
    "written",
    [
        "ada", "ada@", "@example.com", "ada@example", "ada@.example", "a b@example.com",
        "ada@exam ple.com", "ada@b@example.com", "a,b@example.com", "<ada..b@example.com>",
        "ada\n..@example.com", "ada..\u202e@example.com", '"a\\"b"@shop.local',
        f"{'x' * 250}..@example.com",
    ],
)  # fmt: skip
def test_what_has_no_chance_is_refused_with_the_field(written: str) -> None:
    assert problem("customer.email", written).field == "customer.email"
