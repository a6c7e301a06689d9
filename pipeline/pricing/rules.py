"""The rules of pricing as data: what `ordermill pricing import` reads. docs/pricing.md is their meaning.

The lists of currencies, countries and time zones are asked of rules that come in. Those that are
stored were accepted by the lists of their time, and are read as they stand (`stored`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from datetime import datetime
from decimal import Decimal
from typing import Annotated, Any, Literal
from zoneinfo import ZoneInfo

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    JsonValue,
    ValidationInfo,
    model_validator,
)

from pipeline.errors import InvalidInput
from pipeline.money import is_listed, to_minor
from pipeline.places.countries import country_code
from pipeline.places.postal import compact, postal_prefix
from pipeline.places.regions import region_code as known_region
from pipeline.pricing.address import region_named
from pipeline.pricing.period import Period


def no_bare_number(value: Any) -> Any:
    """A bare number would be taken for seconds since 1970: 20261123 for a day in that year's August."""
    try:
        float(value)
    except (TypeError, ValueError):
        return value
    raise ValueError("expected a date or a date and time such as 2026-11-23T08:00")


def _decimal(value: str) -> str:
    number = Decimal(value)
    if not number.is_finite() or number < 0:
        raise ValueError("expected a decimal number that is not negative")
    return value


#: The context in which rules are read that are stored.
_STORED = {"stored": True}


def _is_stored(info: ValidationInfo) -> bool:
    return info.context == _STORED


def _amounts(given: dict[str, str], info: ValidationInfo) -> dict[str, str]:
    if _is_stored(info):
        return given
    for currency, amount in given.items():
        if not is_listed(currency):
            raise ValueError(f"{currency!r} is not an ISO 4217 currency with minor units")
        try:
            to_minor(amount, currency)
        except InvalidInput as error:
            raise ValueError(str(error)) from None
    return given


def _country_or_all(code: str, info: ValidationInfo) -> str:
    return code if code == "*" else _country(code, info)


def _country(written: str, info: ValidationInfo) -> str:
    if _is_stored(info):
        return written
    code = country_code(written)
    if code is None:
        raise ValueError("expected a country, by its ISO 3166-1 code or its name, such as DE")
    return code


def _with_some_sign(prefix: str) -> str:
    if not compact(prefix):  # every postal code would begin with it, and so would none
        raise ValueError("expected the beginning of a postal code")
    return prefix


def _timezone(name: str, info: ValidationInfo) -> str:
    if _is_stored(info):
        return name
    try:
        ZoneInfo(name)
    except (KeyError, ValueError):
        raise ValueError("expected a time zone such as Europe/Berlin") from None
    return name


#: No order has as many units, no coupon as many uses; more than that a database can't count.
MOST_COUNT = 10**12


def _countable(number: int, info: ValidationInfo) -> int:
    if number > MOST_COUNT and not _is_stored(info):
        raise ValueError(f"expected at most {MOST_COUNT:,}")
    return min(number, MOST_COUNT)


#: To an editor that checks YAML by our schema, what isn't quoted is a number.
_MAY_BE_BARE: dict[str, JsonValue] = {"type": ["string", "number"]}
DecimalText = Annotated[
    str,
    Field(
        pattern=r"^[0-9]{1,12}(\.[0-9]{1,6})?$",
        coerce_numbers_to_str=True,
        json_schema_extra=_MAY_BE_BARE,
    ),
    AfterValidator(_decimal),
]
Percent = Annotated[DecimalText, AfterValidator(lambda p: _at_most(p, 100))]
Rate = Annotated[DecimalText, AfterValidator(lambda r: _at_most(r, 1))]
Amounts = Annotated[dict[str, DecimalText], Field(min_length=1), AfterValidator(_amounts)]
Country = Annotated[str, AfterValidator(_country)]
CountryOrAll = Annotated[str, AfterValidator(_country_or_all)]
Name = Annotated[str, Field(min_length=1, max_length=64, json_schema_extra=_MAY_BE_BARE)]
Names = frozenset[Name]
PostalPrefix = Annotated[Name, AfterValidator(_with_some_sign)]
Weekday = Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
Count = Annotated[int, Field(ge=1), AfterValidator(_countable)]
Moment = Annotated[datetime, BeforeValidator(no_bare_number)]


def _at_most(value: str, limit: int) -> str:
    if Decimal(value) > limit:
        raise ValueError(f"expected at most {limit}")
    return value


def _shown(moment: datetime | None) -> str:
    return "nothing" if moment is None else moment.isoformat()


def _repeated(values: Iterable[Any]) -> list[Any]:
    return [value for value, times in Counter(values).items() if times > 1]


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class _Dated(_Model):
    valid_from: Moment | None = None
    valid_until: Moment | None = None


class Selector(_Model):
    """Which lines: those with one of the SKUs or categories, and none of the excepted SKUs."""

    skus: Names = frozenset()
    categories: Names = frozenset()
    except_skus: Names = frozenset()


class Conditions(_Dated):
    """All must hold; see docs/pricing.md."""

    min_spend: Amounts | None = None
    min_quantity: Count | None = None
    skus: Names = frozenset()
    categories: Names = frozenset()
    sources: Names = frozenset()
    customer_groups: Names = frozenset()
    first_order: bool = False
    weekdays: frozenset[Weekday] = frozenset()


class PercentOff(_Model):
    type: Literal["percent"]
    percent: Percent
    cap: Amounts | None = None


class FixedOff(_Model):
    type: Literal["fixed"]
    amount: Amounts


class FixedPrice(_Model):
    type: Literal["fixed_price"]
    price: Amounts


class QuantityTier(_Model):
    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)
    at_least: Count = Field(alias="from")
    percent: Percent


class SpendTier(_Model):
    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)
    at_least: Amounts = Field(alias="from")
    percent: Percent


class TieredByQuantity(_Model):
    type: Literal["tiered_by_quantity"]
    tiers: Annotated[tuple[QuantityTier, ...], Field(min_length=1)]


class TieredBySpend(_Model):
    type: Literal["tiered_by_spend"]
    tiers: Annotated[tuple[SpendTier, ...], Field(min_length=1)]


class BuyGet(_Model):
    type: Literal["buy_get"]
    buy: Count
    get: Count
    percent: Percent = "100"
    of: Selector | None = None


class CheapestFree(_Model):
    type: Literal["cheapest_free"]
    every: Annotated[int, Field(ge=2)]


class Bundle(_Model):
    type: Literal["bundle"]
    units: Annotated[dict[Name, Count], Field(min_length=1)]
    price: Amounts


class FreeShipping(_Model):
    type: Literal["free_shipping"]


Effect = Annotated[
    PercentOff
    | FixedOff
    | FixedPrice
    | TieredByQuantity
    | TieredBySpend
    | BuyGet
    | CheapestFree
    | Bundle
    | FreeShipping,
    Field(discriminator="type"),
]
Target = Literal["lines", "order", "shipping"]

_ALLOWED: dict[str, frozenset[str]] = {
    "lines": frozenset(
        {
            "percent", "fixed", "fixed_price", "tiered_by_quantity", "tiered_by_spend", "buy_get",
            "cheapest_free", "bundle",
        }
    ),
    "order": frozenset({"percent", "fixed", "tiered_by_quantity", "tiered_by_spend"}),
    "shipping": frozenset({"percent", "fixed", "fixed_price", "free_shipping"}),
}  # fmt: skip


class Promotion(_Model):
    id: Name
    name: Annotated[str, Field(min_length=1, max_length=255)]
    target: Target = "lines"
    effect: Effect
    lines: Selector = Selector()
    when: Conditions = Conditions()
    priority: int = 100
    group: Name | None = None
    last: bool = False

    @model_validator(mode="after")
    def _fits_together(self) -> Promotion:
        allowed = _ALLOWED[self.target]
        if self.effect.type not in allowed:
            raise ValueError(
                f"effect.type: {self.effect.type!r} has no meaning for target {self.target!r}; "
                f"expected one of {', '.join(sorted(allowed))}"
            )
        if isinstance(self.effect, Bundle) and self.lines != Selector():
            raise ValueError("lines: a bundle names its SKUs itself; expected no selector")
        return self


class Coupon(_Dated):
    """A code that lets promotions apply. Limits: None is no limit."""

    code: Annotated[Name, AfterValidator(str.upper)]
    promotions: Annotated[tuple[Name, ...], Field(min_length=1)]
    limit: Count | None = None
    limit_per_customer: Count | None = None


def _know_regions(countries: Iterable[str], regions: Iterable[str], path: str) -> None:
    """Refuse a region that none of `countries` has: no address would ever be in it."""
    for region in sorted(regions):
        if "*" not in countries and not any(known_region(country, region) for country in countries):
            named = " or ".join(sorted(countries))
            raise ValueError(
                f"{path}: got {region!r}, expected a region of {named}, by code or name"
            )


class ShippingRate(_Model):
    countries: frozenset[CountryOrAll] = frozenset()
    regions: Names = frozenset()
    postal_prefixes: frozenset[PostalPrefix] = frozenset()
    up_to_weight: Annotated[int, Field(ge=0)] | None = None
    from_value: Amounts | None = None
    price: Amounts

    @model_validator(mode="after")
    def _regions_exist(self, info: ValidationInfo) -> ShippingRate:
        if not _is_stored(info):
            _know_regions(self.countries or {"*"}, self.regions, "regions")
        return self


class ShippingMethod(_Model):
    name: Annotated[str, Field(min_length=1, max_length=255)]
    tax: Name = Field(default="standard", description="a tax class, or `proportional`")
    rates: Annotated[tuple[ShippingRate, ...], Field(min_length=1)]


class Shipping(_Model):
    default: Name | None = None
    methods: dict[Name, ShippingMethod] = {}

    @model_validator(mode="after")
    def _default_exists(self) -> Shipping:
        if self.default is not None and self.default not in self.methods:
            raise ValueError(f"default: {self.default!r} is none of the methods")
        return self


class TaxRate(_Model):
    name: Name
    rate: Rate


class TaxZone(_Model):
    name: Name
    country: CountryOrAll
    region: Name | None = None
    postal_prefix: PostalPrefix | None = None
    rates: dict[Name, tuple[TaxRate, ...]]

    @model_validator(mode="after")
    def _region_exists(self, info: ValidationInfo) -> TaxZone:
        if self.region is not None and not _is_stored(info):
            _know_regions({self.country}, {self.region}, "region")
        return self

    @property
    def place(self) -> tuple[str, str | None, str]:
        """Where it is, however that is written: the country, the region, the postal prefix."""
        region = self.region and region_named(self.country, self.region)
        return self.country, region, postal_prefix(self.country, self.postal_prefix or "")


class Export(_Model):
    price: Literal["as_shown", "net"] = Field(
        default="as_shown", description="net: prices that include tax lose that of `home`"
    )


class ReverseCharge(_Model):
    price: Literal["less_destination_tax", "net"] = Field(
        default="less_destination_tax",
        description="which tax comes off prices that include it; net: that of `home`",
    )


class Tax(_Model):
    zones: tuple[TaxZone, ...] = ()
    exempt_groups: Names = frozenset()
    export: Export = Export()
    reverse_charge: ReverseCharge = ReverseCharge()
    home: Country | None = Field(
        default=None, description="where we are registered: for reverse charge"
    )

    @model_validator(mode="after")
    def _fits_together(self, info: ValidationInfo) -> Tax:
        if _is_stored(info):
            return self
        for name, price in (
            ("export", self.export.price),
            ("reverse_charge", self.reverse_charge.price),
        ):
            if price == "net" and self.home is None:
                raise ValueError(
                    f"{name}.price: got 'net', expected `home` to say whose tax is in it"
                )
        twice = _repeated(zone.place for zone in self.zones)
        if twice:
            raise ValueError(f"zones: two zones for {twice[0]}")
        return self


class Rounding(_Model):
    mode: Literal["half_up", "half_even", "half_down"] = "half_up"
    level: Literal["unit", "line", "document"] = "line"


class Rules(_Model):
    """One rule set. Nothing set: no tax, no shipping, no promotions."""

    timezone: Annotated[str, AfterValidator(_timezone)] = "UTC"
    includes_tax: bool = False
    rounding: Rounding = Rounding()
    tax: Tax = Tax()
    shipping: Shipping = Shipping()
    promotions: tuple[Promotion, ...] = ()
    coupons: tuple[Coupon, ...] = ()

    @model_validator(mode="after")
    def _names_meet(self, info: ValidationInfo) -> Rules:
        if _is_stored(info):
            return self
        known = [promotion.id for promotion in self.promotions]
        codes = [coupon.code for coupon in self.coupons]
        wrong = [
            *(f"promotions: two have the id {twice!r}" for twice in _repeated(known)),
            *(f"coupons: two have the code {twice!r}" for twice in _repeated(codes)),
            *(
                f"coupons.{n}.promotions: there is no promotion {promotion!r}"
                for n, coupon in enumerate(self.coupons)
                for promotion in coupon.promotions
                if promotion not in known
            ),
            *(
                f"{path}.valid_until: got {_shown(dated.valid_until)}, expected a time after "
                f"valid_from, {_shown(dated.valid_from)}"
                for path, dated in self._dated()
                if Period.of(dated.valid_from, dated.valid_until, ZoneInfo(self.timezone)).is_empty
            ),
        ]
        if wrong:  # all of it at once: a line each
            raise ValueError("\n".join(wrong))
        return self

    def _dated(self) -> Iterator[tuple[str, _Dated]]:
        """What has a validity, by its path. Only here is known in which zone it is meant."""
        for n, promotion in enumerate(self.promotions):
            yield f"promotions.{n}.when", promotion.when
        for n, coupon in enumerate(self.coupons):
            yield f"coupons.{n}", coupon


def stored(body: str) -> Rules:
    """Rules as they were told and stored, whatever has left today's lists since."""
    return Rules.model_validate_json(body, context=_STORED)


def told(rules: Rules) -> dict[str, Any]:
    """What of `rules` differs from the defaults, as plain data that reads back as the same rules.
    Sets are sorted: the same rules are told the same way."""
    return {
        key: _plain(value)
        for key, value in rules.model_dump(by_alias=True, exclude_defaults=True).items()
    }


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    return sorted(value) if isinstance(value, frozenset) else value
