"""The pricing commands: rules in and out, every mistake by its path, and what an order would cost."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pipeline.errors import InvalidInput
from pipeline.intake.files.rules import InvalidRules, read_rules, write_rules
from pipeline.pricing.rules import Bundle, Rules, Tax

EXAMPLE = Path(__file__).parents[2] / "docs" / "examples" / "rules.yaml"
PRODUCTS = EXAMPLE.with_name("products.csv")
Run = Callable[..., tuple[int, str]]

#: Names as people give them, and some that YAML would take for a number, a date, a truth.
NAMES = st.text(st.characters(min_codepoint=32, max_codepoint=126), min_size=1, max_size=12)
LOOKING_LIKE_SOMETHING_ELSE = st.from_regex(
    r"[-+]?[0-9][-0-9_.:eE]{0,7}|0x[0-9a-f]{2}|[Tt]rue|[Nn]ull|~|yes|\.inf|[?:!&*|>%@#-] ?[a0:]?",
    fullmatch=True,
)

RULES = """
tax:
  zones:
    - {name: all, country: "*", rates: {standard: [{name: VAT, rate: 0.19}]}}
shipping:
  methods:
    post: {name: By post, rates: [{price: {EUR: 4.90}}]}
promotions:
  - {id: ten, name: Ten off, effect: {type: percent, percent: 10}}
coupons:
  - {code: ten, promotions: [ten]}
"""


@pytest.fixture
def shop(run: Run) -> Run:
    """A home with a source and products."""
    assert run("sources", "set", "web")[0] == 0
    assert run("products", "import", PRODUCTS)[0] == 0
    return run


def written(tmp_path: Path, text: str, name: str = "rules.yaml") -> Path:
    path = tmp_path / name
    path.write_text(text, "utf-8")
    return path


def an_order(tmp_path: Path, **changes: Any) -> Path:
    order = {
        "external_id": "web-1", "currency": "EUR", "customer": {"email": "ada@example.com"},
        "ship_to": {"country": "DE"}, "lines": [{"sku": "MUG-01", "quantity": 2}], **changes,
    }  # fmt: skip
    return written(tmp_path, json.dumps(order), "order.json")


# --- In and out -----------------------------------------------------------------------------------


def test_rules_are_imported_in_versions_and_the_same_again_are_none(
    run: Run, tmp_path: Path
) -> None:
    file = written(tmp_path, RULES)

    first = run("pricing", "import", file, "--name", "web")
    again = run("pricing", "import", file, "--name", "web")
    changed = run("pricing", "import", written(tmp_path, RULES.replace("0.19", "0.20")), "--name", "web")  # fmt: skip

    assert first == (
        0, "web is at version 1: 1 promotion, 1 coupon, 1 shipping method, 1 tax zone.\n",
    )  # fmt: skip
    assert again == (0, "web stays at version 1: these are its rules.\n")
    assert "web is at version 2" in changed[1]
    versions = json.loads(run("pricing", "ls", "--json")[1])
    assert [(v["name"], v["version"]) for v in versions] == [("web", 2), ("web", 1)]


def test_a_dry_run_changes_nothing(run: Run, tmp_path: Path) -> None:
    code, said = run("pricing", "import", written(tmp_path, RULES), "--dry-run")

    assert (code, said[:29]) == (0, "default would be at version 1")
    assert json.loads(run("pricing", "ls", "--json")[1]) == []


def test_what_is_exported_can_be_imported_and_is_the_same(run: Run, tmp_path: Path) -> None:
    run("pricing", "import", EXAMPLE)

    exported = written(tmp_path, run("pricing", "export")[1])

    assert run("pricing", "import", exported) == (0, "default stays at version 1: these are its rules.\n")  # fmt: skip
    assert read_rules(exported) == read_rules(EXAMPLE)


def test_an_earlier_version_can_be_exported(run: Run, tmp_path: Path) -> None:
    run("pricing", "import", written(tmp_path, RULES))
    run("pricing", "import", written(tmp_path, "{}"))

    assert run("pricing", "export") == (0, "{}\n")
    assert "By post" in run("pricing", "export", "--version", 1)[1]


def test_rules_that_are_not_there_can_not_be_exported(run: Run) -> None:
    code, said = run("pricing", "export", "--name", "web", "--version", 3)

    assert code == 2
    assert "there are no rules web version 3" in said


def test_times_keep_their_zone_or_their_want_of_one(tmp_path: Path) -> None:
    coupon = {"code": "X", "promotions": ["ten"], "valid_from": datetime(2026, 11, 1, tzinfo=UTC)}
    rules = Rules.model_validate(
        {
            "promotions": [
                {"id": "ten", "name": "Ten", "effect": {"type": "percent", "percent": 1}}
            ],
            "coupons": [{**coupon, "valid_until": "2026-12-01T00:00:00"}],
        }
    )

    read = read_rules(written(tmp_path, write_rules(rules)))

    assert read == rules
    assert read.coupons[0].valid_from == coupon["valid_from"]
    assert read.coupons[0].valid_until == datetime(2026, 12, 1)


def test_what_looks_like_a_number_or_a_date_is_read_as_it_is_written(tmp_path: Path) -> None:
    text = """
shipping:
  methods:
    0815: {name: Post, rates: [{postal_prefixes: [01, 02], up_to_weight: 500, price: {EUR: 4.90}}]}
promotions:
  - id: 2026-11-27
    name: 007
    effect: {type: bundle, units: {000123: 2, 12E4: 1}, price: {JPY: 500}}
    when: {min_quantity: 3, first_order: true, valid_from: 2026-11-23, customer_groups: [1_000]}
    priority: -1
coupons: [{code: 0815, promotions: [2026-11-27]}]
"""

    read = read_rules(written(tmp_path, text))

    rate = read.shipping.methods["0815"].rates[0]
    assert (rate.postal_prefixes, rate.up_to_weight) == ({"01", "02"}, 500)
    assert rate.price == {"EUR": "4.90"}
    (promotion,), (coupon,) = read.promotions, read.coupons
    assert (promotion.id, promotion.name, promotion.priority) == ("2026-11-27", "007", -1)
    assert isinstance(promotion.effect, Bundle)
    assert promotion.effect.units == {"000123": 2, "12E4": 1}
    assert (promotion.when.min_quantity, promotion.when.first_order) == (3, True)
    assert promotion.when.valid_from == datetime(2026, 11, 23)
    assert promotion.when.customer_groups == {"1_000"}
    assert (coupon.code, coupon.promotions) == ("0815", ("2026-11-27",))
    assert read_rules(written(tmp_path, write_rules(read))) == read


@given(st.sets(st.one_of(NAMES, LOOKING_LIKE_SOMETHING_ELSE), max_size=3))
def test_names_are_written_so_that_they_are_read_back_as_they_are(names: set[str]) -> None:
    yaml = write_rules(Rules(tax=Tax(exempt_groups=frozenset(names))))

    with TemporaryDirectory() as directory:
        assert read_rules(written(Path(directory), yaml)).tax.exempt_groups == names


def test_the_schema_lets_an_editor_take_bare_numbers(run: Run) -> None:
    definitions = json.loads(run("pricing", "schema")[1])["$defs"]

    assert definitions["Selector"]["properties"]["skus"]["items"]["type"] == ["string", "number"]
    assert definitions["TaxRate"]["properties"]["rate"]["type"] == ["string", "number"]


def test_the_schema_is_json(run: Run) -> None:
    code, said = run("pricing", "schema")

    assert code == 0
    assert "promotions" in json.loads(said)["properties"]


# --- Mistakes -------------------------------------------------------------------------------------

MISTAKES = {
    "promotions: [{id: a, name: A, effect: {type: percent, percent: 120}}]": (
        'promotions.0.effect.percent: got "120", expected at most 100'
    ),
    "promotions: [{id: a, name: A, effect: {type: percent}}]": (
        "promotions.0.effect.percent: got nothing, expected a value"
    ),
    "promotions: [{id: a, name: A, effect: {type: halve}}]": (
        "promotions.0.effect.type: got \"halve\", expected one of 'percent', 'fixed',"
    ),
    "promotions: [{id: a, name: A, effect: {percent: 5}}]": (
        "promotions.0.effect.type: got null, expected one of"
    ),
    "promotions: [{id: a, name: A, target: shipping, effect: {type: cheapest_free, every: 3}}]": (
        "promotions.0.effect.type: 'cheapest_free' has no meaning for target 'shipping'"
    ),
    "promotions: [{id: a, name: A, effect: {type: cheapest_free, every: 1}}]": (
        'promotions.0.effect.every: got "1", expected greater than or equal to 2'
    ),
    "promotions: [{id: a, name: A, effect: {type: fixed, amount: {EUR: 4.905}}}]": (
        "promotions.0.effect.amount: '4.905' has more decimal places than EUR (2)"
    ),
    "tax: {zones: [{name: x, country: XX, rates: {}}]}": (
        'tax.zones.0.country: got "XX", expected a country, by its ISO 3166-1 code or its name, such as DE'
    ),
    "tax: {zones: [{name: x, country: Atlantis, rates: {}}]}": (
        'tax.zones.0.country: got "Atlantis", expected a country, by its ISO 3166-1 code or its name, such as DE'
    ),
    "timezone: Berlin": 'timezone: got "Berlin", expected a time zone such as Europe/Berlin',
    "includes_taxes: true": "includes_taxes: got true, expected no such field",
    "shipping: {default: post}": "shipping.default: 'post' is none of the methods",
    "coupons: [{code: a, promotions: [b]}]": "coupons.0.promotions: there is no promotion 'b'",
    "coupons: [{code: a, promotions: [b], valid_from: 2026-02-30}]": (
        'coupons.0.valid_from: got "2026-02-30", expected a valid datetime'
    ),
    "coupons: [{code: a, promotions: [b], valid_from: 20261123}]": (
        'coupons.0.valid_from: got "20261123", expected a date or a date and time'
    ),
    "shipping: {methods: {p: {name: P, rates: "
    "[{price: {EUR: 1}}, {postal_prefixes: ['  '], price: {EUR: 1}}]}}}": (
        'shipping.methods.p.rates.1.postal_prefixes.0: got "  ", expected the beginning of a postal'
    ),
    "tax: {zones: [{name: x, country: DE, postal_prefix: ' ', rates: {}}]}": (
        'tax.zones.0.postal_prefix: got " ", expected the beginning of a postal code'
    ),
    "a: 1\na: 2": "not YAML: line 2, column 1: found duplicate key",
    "promotions: [": "not YAML: line 1, column",
    "": "rules: got null, expected a valid dictionary",
    "rounding: {mode: up}": "rounding.mode: got \"up\", expected 'half_up', 'half_even' or 'half_down'",
}


@pytest.mark.parametrize(("text", "said"), MISTAKES.items(), ids=[said[:40] for said in MISTAKES.values()])  # fmt: skip
def test_a_mistake_is_named_by_its_path(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(InvalidRules) as refused:
        read_rules(written(tmp_path, text))

    (problem,) = refused.value.problems
    assert problem.startswith(said)


def test_all_mistakes_are_named_at_once_and_the_exit_code_says_so(run: Run, tmp_path: Path) -> None:
    file = written(
        tmp_path,
        "timezone: Mars\nrounding: {level: all}\ncoupons: [{code: A, promotions: []}]\n"
        "promotions: [{id: a, name: A, effect: {type: percent, percent: -1}}]",
    )

    for command in ("check", "import"):
        code, said = run("pricing", command, file)

        assert code == 2
        named = [line.split(":")[0].strip() for line in said.splitlines()[1:]]
        assert named == ["timezone", "rounding.level", "promotions.0.effect.percent", "coupons.0.promotions"]  # fmt: skip
    assert json.loads(run("pricing", "ls", "--json")[1]) == []


def test_names_that_don_t_meet_are_named_at_once(tmp_path: Path) -> None:
    ten = "{id: ten, name: Ten, effect: {type: percent, percent: 10}}"
    text = f"promotions: [{ten}, {ten}]\ncoupons: [{{code: a, promotions: [b]}}, {{code: A, promotions: [c]}}]"  # fmt: skip

    with pytest.raises(InvalidRules) as refused:
        read_rules(written(tmp_path, text))

    assert refused.value.problems == [
        "promotions: two have the id 'ten'",
        "coupons: two have the code 'A'",
        "coupons.0.promotions: there is no promotion 'b'",
        "coupons.1.promotions: there is no promotion 'c'",
    ]


@pytest.mark.parametrize(
    ("valid_from", "valid_until", "is_sound"),
    [
        ("2026-11-23", "2026-11-24", True),
        ("2026-11-23", "2026-11-23", False),
        ("2026-11-23", "2026-11-22T23:59:59", False),
        # In Berlin, at +01:00:
        ("2026-11-23T12:00:00", "2026-11-23T11:30:00+00:00", True),
        ("2026-11-23T12:00:00", "2026-11-23T11:00:00+00:00", False),
        # The hour that is not on the clock: half past two is half past three.
        ("2026-03-29T02:30:00", "2026-03-29T03:10:00", False),
    ],
)
def test_what_is_never_valid_is_refused_by_its_path(
    tmp_path: Path, valid_from: str, valid_until: str, is_sound: bool
) -> None:
    dates = f"valid_from: '{valid_from}', valid_until: '{valid_until}'"
    ten = f"{{id: ten, name: Ten, effect: {{type: percent, percent: 10}}, when: {{{dates}}}}}"
    text = f"timezone: Europe/Berlin\npromotions: [{ten}]\ncoupons: [{{code: A, promotions: [ten], {dates}}}]"  # fmt: skip

    if is_sound:
        assert read_rules(written(tmp_path, text)).coupons
        return
    with pytest.raises(InvalidRules) as refused:
        read_rules(written(tmp_path, text))

    paths = [problem.split(": ")[0] for problem in refused.value.problems]
    assert paths == ["promotions.0.when.valid_until", "coupons.0.valid_until"]
    assert "expected a time after valid_from, 2026-" in refused.value.problems[0]


def test_norway_is_a_country_and_a_sound_file_is_called_so(run: Run, tmp_path: Path) -> None:
    zone = "tax: {zones: [{name: Norway, country: NO, rates: {standard: [{name: MVA, rate: 0.25}]}}]}"  # fmt: skip

    code, said = run("pricing", "check", written(tmp_path, zone))

    assert code == 0
    assert "is sound: 0 promotions, 0 coupons, 0 shipping methods, 1 tax zone." in said


# --- What an order would cost ---------------------------------------------------------------------


def test_an_order_is_priced_by_the_source_s_rules_without_being_placed(
    shop: Run, tmp_path: Path
) -> None:
    shop("pricing", "import", written(tmp_path, RULES))
    order = an_order(tmp_path, coupons=["TEN"], shipping_method="post")

    code, said = shop("pricing", "quote", order)

    assert code == 0
    assert "31.53 EUR by default, version 1; tax in it: 5.03" in said
    assert "Ten off (ten, coupon TEN)" in said
    assert "standard in all: VAT 19 % of 21.60" in said
    assert json.loads(shop("orders", "ls", "--json")[1]) == []


def test_an_order_is_priced_by_a_file_before_anyone_imports_it(shop: Run, tmp_path: Path) -> None:
    file = written(tmp_path, RULES)

    code, said = shop("pricing", "quote", an_order(tmp_path), "--rules", file, "--json")

    found = json.loads(said)
    assert code == 0
    assert (found["net"], found["tax"], found["total"], found["version"]) == (2400, 456, 2856, None)
    assert (found["currency"], found["exponent"]) == ("EUR", 2)
    assert [step["step"] for step in found["steps"]] == ["price", "tax"]


def test_an_order_without_a_price_is_told_why(shop: Run, tmp_path: Path) -> None:
    shop("pricing", "import", written(tmp_path, RULES))

    code, said = shop("pricing", "quote", an_order(tmp_path, coupons=["ELEVEN"]))

    assert (code, said) == (1, 'It has no price: coupon_unknown {"coupon": "ELEVEN"}\n')


def test_an_order_that_would_be_held_is_said_to_be(shop: Run, tmp_path: Path) -> None:
    shop("sources", "set", "web", "--set", 'hold_over={"EUR": 100}')

    assert "It would be held: amount_over_limit" in shop("pricing", "quote", an_order(tmp_path))[1]


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"currency": "EURO"}, 'currency: got "EURO", expected an ISO 4217 currency code'),
        (
            {"lines": [{"sku": "MUG-01", "quantity": 1, "unit_price": "1.00"}]},
            'lines.0.unit_price: got "1.00", expected no price',
        ),
    ],
)
def test_what_intake_would_refuse_is_refused_here_too(
    shop: Run, tmp_path: Path, changes: dict[str, Any], said: str
) -> None:
    code, told = shop("pricing", "quote", an_order(tmp_path, **changes))

    assert code == 2
    assert said in told


def test_whose_order_it_is_must_be_said_where_it_could_be_several(
    shop: Run, tmp_path: Path
) -> None:
    shop("sources", "set", "market")

    code, said = shop("pricing", "quote", an_order(tmp_path))

    assert code == 2
    assert "there are: market, web" in said
    assert shop("pricing", "quote", an_order(tmp_path), "--source", "web")[0] == 0


# --- Elsewhere ------------------------------------------------------------------------------------


def test_a_source_whose_rules_nobody_imported_is_told_what_that_means(
    run: Run, tmp_path: Path
) -> None:
    _, before = run("sources", "set", "web", "--set", "rules=shop")
    _, checked = run("check")
    run("pricing", "import", written(tmp_path, RULES), "--name", "shop")
    _, after = run("sources", "set", "web", "--set", "rules=shop")

    assert "no tax, no shipping, no promotions until `ordermill pricing import FILE --name shop`" in before  # fmt: skip
    assert "web is priced by shop, which nobody has imported" in checked
    assert after == "Source web is set.\nIts policy is as it was.\n"
    assert "pricing rules" not in run("check")[1]


def test_a_policy_that_still_speaks_of_tax_is_refused_by_name(run: Run) -> None:
    code, said = run("sources", "set", "web", "--set", 'tax_rates={"*": "0.19"}')

    assert code == 2
    assert "tax_rates" in said


# --- Files that nobody wrote for a good end -------------------------------------------------------


def test_an_alias_in_yaml_is_refused_by_its_place(tmp_path: Path) -> None:
    """Nine lines, each nine times the one before, would be a billion values."""
    laughs = [
        "a0: &a0 [x, x]",
        *(f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 10)),
    ]

    with pytest.raises(InvalidRules) as refused:
        read_rules(written(tmp_path, "\n".join(laughs)))

    (problem,) = refused.value.problems
    assert problem == "not YAML: line 2, column 10: the alias *a0; write out what it stands for"


@pytest.mark.parametrize("text", ["a: &a {b: *a}", "- &x 1\n- *x", "a: {<<: *b}"])
def test_no_alias_is_taken_wherever_it_stands(tmp_path: Path, text: str) -> None:
    with pytest.raises(InvalidRules, match="the alias"):
        read_rules(written(tmp_path, text))


def test_rules_that_are_nested_too_deeply_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidRules, match="nested too deeply"):
        read_rules(written(tmp_path, "[" * 5_000))


def test_a_file_of_rules_has_a_size(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match="2,000,001 bytes, of 2,000,000 at most"):
        read_rules(written(tmp_path, "#" * 2_000_001))
