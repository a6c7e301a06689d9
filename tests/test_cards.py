"""Card numbers are found in free text however they are written; ids are never taken for them."""

from __future__ import annotations

import random
import string
import uuid
from collections.abc import Callable, Iterator

import pytest
from stdnum import ean, luhn

from pipeline.cards import holds_card_number, mask_card_numbers, shape
from pipeline.intake.schema import InvalidOrder, read_order
from tests.support import an_order

#: What gateways publish for tests; those that are meant to fail the check of their digits left out.
STRIPE = [
    "4242424242424242",
    "4000056655665556",
    "5555555555554444",
    "2223003122003222",
    "5200828282828210",
    "5105105105105100",
    "378282246310005",
    "371449635398431",
    "6011111111111117",
    "6011000990139424",
    "6011981111111113",
    "3056930009020004",
    "36227206271667",
    "6555900000604105",
    "3566002020360505",
    "6200000000000005",
    "6200000000000047",
    "6205500000000000004",
    "4000002500001001",
    "5555552500001001",
    "5062210000000009",
    "6280000360000978",
    "4000000760000002",
    "4000001240000000",
    "4000004840008001",
    "4000000320000021",
    "4000000400000008",
    "4000000560000004",
    "4000002760000016",
    "4000008260000000",
    "4000058260000005",
    "4000003560000008",
    "4000003920000003",
    "4000000000000002",
    "4000000000009995",
    "4000000000009987",
    "4000000000009979",
    "4000000000000069",
    "4000000000000127",
    "4000000000000119",
    "4000000000006975",
    "4100000000000019",
    "4000000000004954",
    "4000000000009235",
    "4000000000000101",
    "4000000000000036",
    "4000000000000028",
    "4000000000000010",
    "4000000000000259",
    "4000000000002685",
    "4000002500003155",
    "4000002760003184",
    "4000003800000446",
    "4000000000003220",
    "4000008400001629",
]
ADYEN = [
    "4111111111111111",
    "4988438843884305",
    "4166676667666746",
    "4646464646464644",
    "4444333322221111",
    "4400000000000008",
    "4977949494949497",
    "4871049999999910",
    "4035501000000008",
    "4360000001000005",
    "4017340000000003",
    "4005519200000004",
    "4131840000000003",
    "4151500000000008",
    "4199350000000002",
    "5100081112223332",
    "5100290029002909",
    "5577000055770004",
    "5136333333333335",
    "5585558555855583",
    "5555444433331111",
    "5555341244441115",
    "5500000000000004",
    "5424000000000015",
    "2222400070000005",
    "2222410740360010",
    "2222400010000008",
    "2222400030000004",
    "5103221911199245",
    "5454545454545454",
    "5413330089099999",
    "5413330089020037",
    "5520330000000001",
    "6243030000000001",
    "2308880000000000",
    "370000000000002",
    "345177925488348",
    "371449635398431",
    "6703444444444449",
    "6771798021000008",
    "6759649826438453",
    "5000550000000029",
    "6011601160116611",
    "6445644564456445",
    "36006666333344",
    "3569990010095841",
    "3095000000000000",
    "8171999927660000",
    "8171999900000000021",
    "5066991111111118",
    "6062828888666688",
    "6799998900000099990",
    "6000070736169237003",
    "135410014004955",
    "9490220006611406",
    "5019555544445555",
    "4571000000000001",
]
PAYPAL = [
    "371449635398431",
    "376680816376961",
    "36259600000004",
    "6304000000000000",
    "5063516945005047",
    "2223000048400011",
    "4005519200000004",
    "4012000033330026",
    "4012000077777777",
    "4012888888881881",
    "4217651111111119",
    "4500600000000061",
    "4772129056533503",
    "4915805038587737",
    "378734493671000",
    "5610591081018250",
    "30569309025904",
    "38520000023237",
    "6011000990139424",
    "3530111333300000",
    "4222222222222",
    "5019717010103742",
    "6331101999990016",
]
CARDS = sorted({number for number in (*STRIPE, *ADYEN, *PAYPAL) if luhn.is_valid(number)})


def _grouped(number: str) -> list[str]:
    if len(number) == 15:
        return [number[:4], number[4:10], number[10:]]
    return [number[n : n + 4] for n in range(0, len(number), 4)]


def _digits(form: int) -> dict[int, str]:
    return {ord(digit): chr(form + n) for n, digit in enumerate(string.digits)}


CIRCLED = {ord("0"): "⓪"} | {ord(str(n)): chr(0x2460 + n - 1) for n in range(1, 10)}
SPELLINGS: dict[str, Callable[[str], str]] = {
    "in one": lambda n: n,
    "in groups": lambda n: " ".join(_grouped(n)),
    "hyphens": lambda n: "-".join(_grouped(n)),
    "points": lambda n: ".".join(_grouped(n)),
    "commas": lambda n: ",".join(_grouped(n)),
    "bars": lambda n: " | ".join(_grouped(n)),
    "middle dots": lambda n: "·".join(_grouped(n)),
    "digit by digit": lambda n: " ".join(n),
    "full width": lambda n: n.translate(_digits(0xFF10)),
    "circled": lambda n: n.translate(CIRCLED),
    "on lines": lambda n: "\n".join(_grouped(n)),
    "no-break spaces": lambda n: "\u00a0".join(_grouped(n)),
    "slashes": lambda n: " / ".join(_grouped(n)),
    "brackets": lambda n: "".join(f"({g})" for g in _grouped(n)),
    "stars, plus signs": lambda n: "*+".join(_grouped(n)),
    "pairs, colons": lambda n: ":".join(_grouped(n)),
    "minus, tilde, wide": lambda n: "\u2212 ~  ".join(_grouped(n)),
    "hyphen by hyphen": lambda n: "-".join(n),
    "Arabic digits": lambda n: n.translate(_digits(0x0660)),
    "unseen between": lambda n: "\u200b".join(n),
    "keycaps": lambda n: "\ufe0f\u20e3".join(n),
    "with its date": lambda n: f"{n}1227",
    "words around": lambda n: f"card no. {n} valid until 12/27, code 123",
    "mixed": lambda n: "".join(g + s for g, s in zip(_grouped(n), ", |.-", strict=False)),
}  # fmt: skip


def test_the_lists_are_those_of_real_checks() -> None:
    assert len(CARDS) > 100
    assert len(SPELLINGS) >= 12


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_every_public_test_number_is_found_however_it_is_written(spelling: str) -> None:
    missed = [n for n in CARDS if not holds_card_number(f"Hi! {SPELLINGS[spelling](n)}")]

    assert missed == []


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_what_is_masked_holds_none_any_more(spelling: str) -> None:
    for number in CARDS:
        masked = mask_card_numbers(f"Hi! {SPELLINGS[spelling](number)}", shape)

        assert not holds_card_number(masked)
        assert f"{number[:4]}…{number[-4:]}" in masked


@pytest.mark.parametrize("spelling", ["in one", "commas", "digit by digit", "circled", "bars"])
@pytest.mark.parametrize(
    "field",
    ["customer.name", "customer.id", "customer.group", "ship_to.street", "payment.method",
     "metadata.note", "coupons.0", "shipping_method"],
)  # fmt: skip
def test_a_refusal_says_where_and_shows_the_shape(field: str, spelling: str) -> None:
    written = SPELLINGS[spelling]("4242424242424242")

    with pytest.raises(InvalidOrder) as refused:
        read_order(_with(field, written))

    (found,) = [p for p in refused.value.problems if "card" in p.expected]
    assert (found.field, found.value.strip('"')) == (field, "4242…4242")


def _with(field: str, text: str) -> dict[str, object]:
    order = an_order(external_id="web-1")
    parent, _, name = field.rpartition(".")
    if parent == "coupons":
        return {**order, "coupons": [text]}
    if not parent:
        return {**order, name: text}
    return {**order, parent: {**order.get(parent, {}), name: text}}


# --- What is none ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "text",
    [
        "24.12.2026, 14:00-16:00",  # 2412 2026 1400 1600 has a card's check digit
        "30.11.2026 14:00 - 16:00",
        "2026-11-22 02:04:51,123",
        "+49 1512 3456789",
        "4915112345678",
        "4006381333931",
        "166-3956054-8266764",
        "da585099-0844-4958-97d7-1231b3e2411e",
        "1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20",
        "三丁目4-2-4, 10115",
    ],
)
def test_dates_telephone_numbers_and_known_ids_are_no_cards(text: str) -> None:
    assert not holds_card_number(text)
    assert mask_card_numbers(text) == text


def _amazon(chance: random.Random) -> str:
    return f"{chance.randrange(1000):03}-{chance.randrange(10**7):07}-{chance.randrange(10**7):07}"


def _gtin14(chance: random.Random) -> str:
    digits = f"{chance.randrange(10**13):013}"
    return digits + ean.calc_check_digit(digits)


IDS: dict[str, Callable[[random.Random], str]] = {
    "UUIDs": lambda chance: str(uuid.UUID(int=chance.getrandbits(128), version=4)),
    "Amazon's": _amazon,
    "GTIN-14s": _gtin14,
    "16 digits": lambda chance: f"{chance.randrange(10**16):016}",
}


def _refused(make: Callable[[random.Random], str], count: int) -> Iterator[str]:
    """Of so many ids, those that were refused as external_id or as SKU."""
    chance = random.Random(11)
    for _ in range(count):
        found = make(chance)
        try:
            order = an_order(external_id=found, lines=[(found, 1)])
            assert read_order(order).external_id == found
        except InvalidOrder:
            yield found


@pytest.mark.parametrize("make", IDS.values(), ids=IDS)
def test_no_id_is_refused_for_looking_like_a_card(make: Callable[[random.Random], str]) -> None:
    assert list(_refused(make, 2_000)) == []


@pytest.mark.long
@pytest.mark.timeout(600)
@pytest.mark.parametrize("make", IDS.values(), ids=IDS)
def test_of_two_hundred_thousand_ids_none_is_refused(make: Callable[[random.Random], str]) -> None:
    assert list(_refused(make, 200_000)) == []


@pytest.mark.parametrize("make", [IDS["UUIDs"], IDS["Amazon's"]], ids=["UUIDs", "Amazon's"])
def test_ids_of_a_known_form_can_be_read_in_logs_and_messages(
    make: Callable[[random.Random], str],
) -> None:
    chance = random.Random(11)

    assert not any(holds_card_number(f"order {make(chance)}") for _ in range(5_000))


@pytest.mark.parametrize("part", ["4", "4 ", "3242 ", "42-", "4,,,,,,,, ", "①·", "4" * 21 + " "])
def test_a_long_text_of_digits_is_looked_through_in_one_pass(part: str) -> None:
    """Were it looked through anew from each digit, this would not end before the time is over."""
    text = part * (50_000 // len(part))

    assert isinstance(holds_card_number(text), bool)
    assert len(mask_card_numbers(text)) <= len(text) + len("(card number)")
