"""What an order costs, a second time: docs/pricing.md written down as naively as it reads.

Fractions, lists and sums; no index, no caching, no step that the page doesn't name, in the order
in which the page names them. It shares the types with the real engine, and what is known of places, and nothing else, so where
the two agree they agree on the page.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from decimal import Decimal
from fractions import Fraction
from math import ceil, floor
from typing import Any
from zoneinfo import ZoneInfo

from pipeline.money import exponent
from pipeline.places.codes import OWN_CODES
from pipeline.places.folding import fold
from pipeline.places.postal import Postal, postal_code, postal_prefix
from pipeline.places.regions import region_code, regions_at, within
from pipeline.places.territories import TERRITORIES, Territory
from pipeline.pricing.cart import Cart, CartLine
from pipeline.pricing.prices import ListPrice
from pipeline.pricing.quote import NotPriced, Quote, QuotedLine, QuotedShipping
from pipeline.pricing.rules import (
    Bundle,
    BuyGet,
    CheapestFree,
    Coupon,
    FixedOff,
    FixedPrice,
    FreeShipping,
    PercentOff,
    Promotion,
    Rules,
    Selector,
    ShippingMethod,
    ShippingRate,
    TaxZone,
    TieredByQuantity,
    TieredBySpend,
)

WEEKDAYS = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"]
EU = {
    "AT", "BE", "BG", "CY", "CZ", "DE", "DK", "EE", "ES", "FI", "FR", "GR", "HR", "HU", "IE", "IT",
    "LT", "LU", "LV", "MT", "NL", "PL", "PT", "RO", "SE", "SI", "SK",
}  # fmt: skip


def price(cart: Cart, rules: Rules) -> Quote | NotPriced:
    """What `cart` costs by `rules`: a quote without its steps, or why there is none, without detail."""
    try:
        if cart.step > 1:
            return in_minor_units(_Calculation(in_steps(cart, rules), rules).quote(), cart.step)
        return _Calculation(cart, rules).quote()
    except _Refused as refused:
        return NotPriced(refused.reason, {}, refused.final and not cart.as_sold)


def in_steps(cart: Cart, rules: Rules) -> Cart:
    """With the step for a minor unit; a price that is agreed must be a multiple."""
    for line in cart.lines:
        if line.origin == "as_sold" and line.unit_price % cart.step > 0:
            raise _Refused("price_not_payable", final=False)
    return replace(
        cart,
        shown=None if cart.shown is None else cart.shown // cart.step,
        lines=tuple(
            replace(
                line,
                unit_price=rounded(Fraction(line.unit_price, cart.step), rules.rounding.mode),
            )
            for line in cart.lines
        ),
    )


def in_minor_units(quote: Quote, step: int) -> Quote:
    def times(part: Any, *names: str) -> Any:
        return part and replace(part, **{name: getattr(part, name) * step for name in names})

    rest = ("discount", "net", "tax", "gross")
    return replace(
        times(quote, "net", "tax", "total"),
        lines=tuple(times(line, "unit_price", *rest) for line in quote.lines),
        shipping=times(quote.shipping, "price", *rest),
    )


def unit_price(
    prices: list[ListPrice], quantity: int, group: str | None, at: datetime
) -> ListPrice | None:
    """The catalogue's price: of those that fit, what is better first decides, then the next."""
    left = [
        p
        for p in prices
        if p.customer_group in ("", group)
        and quantity >= p.from_quantity
        and (p.valid_from is None or at >= p.valid_from)
        and (p.valid_until is None or at < p.valid_until)
    ]
    left = [p for p in left if p.customer_group] or left
    left = [p for p in left if p.valid_from or p.valid_until] or left
    left = [p for p in left if p.from_quantity == max(x.from_quantity for x in left)]
    begun = [p.valid_from for p in left if p.valid_from]
    left = [p for p in left if p.valid_from == max(begun)] if begun else left
    return left[0] if left else None


def rounded(exact: Fraction, mode: str) -> int:
    """To a minor unit; `exact` is not negative."""
    if mode == "half_even":
        return round(exact)
    if mode == "half_down":
        return ceil(exact - Fraction(1, 2))
    return floor(exact + Fraction(1, 2))


def spread(amount: int, weights: list[int] | list[Fraction]) -> list[int]:
    """Each the whole part of its exact share, and the units left over one each to the largest
    remainders, ties to the first; if all weights are zero they count as equal."""
    if not any(weights):
        weights = [1 for _ in weights]
    whole = sum(weights)
    exact = [Fraction(amount) * weight / whole for weight in weights]
    shares = [floor(share) for share in exact]
    by_remainder = sorted(range(len(exact)), key=lambda i: (shares[i] - exact[i], i))
    for i in by_remainder[: amount - sum(shares)]:
        shares[i] += 1
    return shares


# --- Where an order goes --------------------------------------------------------------------------

YES, MAYBE, NO = "yes", "maybe", "no"


def any_of(answers: list[str]) -> str:
    return YES if YES in answers else MAYBE if MAYBE in answers else NO


def all_of(answers: list[str]) -> str:
    return NO if NO in answers else MAYBE if MAYBE in answers else YES


def own(country: str) -> Territory | None:
    """The territory that has this code of its own."""
    return next((t for t in TERRITORIES if t.code == country), None)


def whose_regions(country: str) -> str:
    named = own(country)
    return named.of if named else country


def postal_of(cart: Cart) -> Postal:
    found, named = postal_code(cart.country, cart.postal_code), own(cart.country)
    if named is None or not named.postal:
        return found
    if found.code and any(found.code.startswith(prefix) for prefix in named.postal):
        return found
    return Postal(named.postal[0] if len(named.postal) == 1 else "", whole=False)


def territory_of(cart: Cart) -> Territory | None:
    if (named := own(cart.country)) is not None:
        return named
    there = [t for t in TERRITORIES if t.of == cart.country and t.postal]
    code, region = postal_of(cart).code, region_code(cart.country, cart.region)
    if code:
        fitting = [(len(p), t) for t in there for p in t.postal if code.startswith(p)]
        return max(fitting, key=lambda each: each[0])[1] if fitting else None
    lies_in = within(cart.country, region) if region else ()
    return next((t for t in there if set(t.regions) & set(lies_in)), None)


def regions_of(cart: Cart) -> list[str] | None:
    """The regions that it may lie in; None: any."""
    region = region_code(whose_regions(cart.country), cart.region)
    if region is not None:
        return [region]
    if (territory := territory_of(cart)) is not None:
        return list(territory.regions)
    if cart.region:
        return None
    return list(regions_at(cart.country, postal_of(cart))) or None


def overlap(country: str, one: str, other: str) -> bool:
    return one in within(country, other) or other in within(country, one)


def readings(cart: Cart) -> list[Cart]:
    if (named := own(cart.country)) is not None:
        code = postal_code(named.of, cart.postal_code).code
        its = [p for t in TERRITORIES if t.code == cart.country for p in t.postal]
        if code and its and not any(code.startswith(p) or p.startswith(code) for p in its):
            return [replace(cart, postal_code=None), replace(cart, country=named.of)]
    if contradicts(cart):
        return [replace(cart, postal_code=None), replace(cart, region=None)]
    return [cart]


def contradicts(cart: Cart) -> bool:
    """Whether its region and its postal code can't both be right."""
    region = region_code(whose_regions(cart.country), cart.region)
    if region is None:
        return False
    at = regions_at(cart.country, postal_of(cart))
    if at and not any(overlap(cart.country, region, each) for each in at):
        return True
    postal = postal_of(cart)
    there = [t for t in TERRITORIES if t.of == cart.country and t.postal and t.regions]
    if not postal.code:
        return False
    by_postal = territory_of(replace(cart, region=None))
    if by_postal is not None:
        its = by_postal.regions
        return bool(its) and not any(overlap(cart.country, region, each) for each in its)
    by_region = [t for t in there if set(t.regions) & set(within(cart.country, region))]
    return any(not begins_or_may(postal, t.postal) for t in by_region[:1])


def begins_or_may(postal: Postal, prefixes: tuple[str, ...]) -> bool:
    return any(
        postal.code.startswith(p) or (not postal.whole and p.startswith(postal.code))
        for p in prefixes
    )


def begins(cart: Cart, prefix: str) -> str:
    postal, prefix = postal_of(cart), postal_prefix(cart.country, prefix)
    if postal.code.startswith(prefix):
        return YES
    if postal.whole or not prefix.startswith(postal.code):
        return NO
    at, mine = regions_at(cart.country, Postal(prefix)), regions_of(cart)
    if at and mine and not any(overlap(cart.country, x, y) for x in at for y in mine):
        return NO
    return MAYBE


def lies_in(cart: Cart, region: str, country: str) -> str:
    """Whether it lies in a region that rules name, of `country`, or of any ("*")."""
    regions, mine = whose_regions(cart.country), regions_of(cart)
    code = region_code(regions, region)
    if code is None:
        if cart.region is not None and fold(cart.region) == fold(region):
            return YES
        return NO if country == "*" or mine is not None else MAYBE
    if mine is None:
        return MAYBE
    answers = [
        YES if code in within(regions, each) else MAYBE if each in within(regions, code) else NO
        for each in mine
    ]
    return NO if not answers else answers[0] if len(set(answers)) == 1 else MAYBE


def is_in(cart: Cart, country: str) -> str:
    territory = territory_of(cart)
    if country in (cart.country, OWN_CODES.get(cart.country)):
        return YES
    if territory is not None:
        return YES if country == territory.code else NO
    if OWN_CODES.get(country) != cart.country:
        return NO
    asked = own(country)
    assert asked is not None
    if postal_of(cart).code:
        return any_of([begins(cart, prefix) for prefix in asked.postal])
    return any_of([lies_in(cart, region, country) for region in asked.regions])


def is_written_with(cart: Cart, country: str) -> str:
    territory = territory_of(cart)
    return YES if territory and country == territory.of else is_in(cart, country)


def is_taxed_in(cart: Cart, country: str) -> str:
    territory = territory_of(cart)
    if territory is None:
        return is_in(cart, country)
    return YES if country in (territory.code, territory.taxed_as) else NO


def vat_area(cart: Cart) -> str | None:
    """The member state, or XI, whose VAT area it is in."""
    territory = territory_of(cart)
    if territory is None:
        return cart.country if cart.country in EU else None
    if not territory.in_eu:
        return None
    return territory.taxed_as if territory.taxed_as in EU else territory.code


def taxed_as(cart: Cart) -> str:
    """Whose tax is charged there."""
    territory = territory_of(cart)
    if territory is None:
        return cart.country
    return territory.taxed_as or territory.code or territory.name


def zone_fits(zone: TaxZone, cart: Cart) -> str:
    parts = []
    if zone.region is None and zone.postal_prefix is None:
        parts += [YES if zone.country == "*" else is_taxed_in(cart, zone.country)]
    else:
        parts += [YES if zone.country == "*" else is_written_with(cart, zone.country)]
    if zone.region is not None:
        parts += [lies_in(cart, zone.region, zone.country)]
    if zone.postal_prefix is not None:
        parts += [begins(cart, zone.postal_prefix)]
    return all_of(parts)


def specific(zone: TaxZone, cart: Cart) -> tuple[int, int, int]:
    """The most specific sorts first."""
    prefix = postal_prefix(cart.country, zone.postal_prefix or "")
    depth, regions = 0, whose_regions(cart.country)
    if zone.region is not None:
        code = region_code(regions, zone.region)
        depth = len(within(regions, code)) if code else 1
    narrow = [t.code for t in TERRITORIES if t.of == cart.country and t.code]
    wide = ["*", whose_regions(cart.country), cart.country, *narrow]
    country = max((n for n, each in enumerate(wide) if each == zone.country), default=0)
    return -len(prefix), -depth, -country


def rate_fits(rate: ShippingRate, cart: Cart) -> str:
    everywhere = not rate.countries or "*" in rate.countries
    part = rate.regions or rate.postal_prefixes
    parts = []
    if not everywhere:
        asked = is_written_with if part else is_in
        parts += [any_of([asked(cart, country) for country in rate.countries])]
    if rate.regions:
        whose = "*" if everywhere else "one"
        parts += [any_of([lies_in(cart, region, whose) for region in rate.regions])]
    if rate.postal_prefixes:
        parts += [any_of([begins(cart, prefix) for prefix in rate.postal_prefixes])]
    return all_of(parts)


class _Refused(Exception):
    """The order is rejected; if not `final` it is held."""

    def __init__(self, reason: str, *, final: bool = True) -> None:
        super().__init__(reason)
        self.reason = reason
        self.final = final


@dataclass
class _Taxed:
    """What is taxed as one: a line (in so many units), or shipping, or a part of it at one rate."""

    amount: int
    rate: Decimal
    units: int = 1


class _Calculation:
    """One order on its way through the page. Lines are in the page's order: "first" is first here."""

    def __init__(self, cart: Cart, rules: Rules) -> None:
        self.cart = cart
        self.rules = rules
        self.mode = rules.rounding.mode
        self.zone = ZoneInfo(rules.timezone)
        self.order = sorted(
            range(len(cart.lines)),
            key=lambda i: (cart.lines[i].sku, cart.lines[i].unit_price, cart.lines[i].quantity),
        )
        self.lines = [cart.lines[i] for i in self.order]
        self.amounts = [line.unit_price * line.quantity for line in self.lines]
        self.shipping = 0
        self.at_home = False  # whether it is the tax of `home` that prices include
        self.applied: set[str] = set()
        self.lost: set[str] = set()

    def quote(self) -> Quote:
        self.given = self.coupons_given()
        self.promote("lines")
        self.promote("order")
        method = self.shipping_method()
        shipping_price = 0
        if method is not None:
            shipping_price = self.shipping = self.shipping_price(method)
            self.promote("shipping")
        used = self.coupons_used()
        return self.total(method, shipping_price, used)

    # --- Amounts ----------------------------------------------------------------------------------

    def minor(self, amounts: dict[str, str]) -> int:
        return rounded(self.exactly(amounts), self.mode)

    def exactly(self, amounts: dict[str, str]) -> Fraction:
        whole = Fraction(amounts[self.cart.currency]) * 10 ** exponent(self.cart.currency)
        return whole / self.cart.step

    def percent_of(self, amount: int | Fraction, percent: str) -> int:
        return rounded(amount * Fraction(percent) / 100, self.mode)

    # --- Promotions -------------------------------------------------------------------------------

    def promote(self, target: str) -> None:
        """Work through the promotions of one target."""
        if self.cart.as_sold:
            return
        mine = [p for p in self.rules.promotions if p.target == target]
        mine.sort(key=lambda p: (p.priority, p.id))
        groups_done = set()
        for promotion in mine:
            if promotion.group is None:
                rivals = [promotion]
            elif promotion.group in groups_done:
                continue
            else:
                rivals = [p for p in mine if p.group == promotion.group]
                groups_done.add(promotion.group)
            best = self.apply_best(rivals)
            if best is not None and best.last:
                return

    def apply_best(self, rivals: list[Promotion]) -> Promotion | None:
        """Apply the one that takes most off, the first of equals; if none takes anything, none."""
        discounts = [(p, self.discounts(p)) for p in rivals if self.is_open(p) and self.holds(p)]
        self.lost.update(p.id for p, _ in discounts if p.target == "shipping" and not self.shipping)
        discounts = [(p, shares) for p, shares in discounts if sum(shares) > 0]
        if not discounts:
            return None
        most = max(sum(shares) for _, shares in discounts)
        best, shares = next((p, shares) for p, shares in discounts if sum(shares) == most)
        if best.target == "shipping":
            self.shipping -= sum(shares)
        else:
            self.amounts = [a - s for a, s in zip(self.amounts, shares, strict=True)]
        self.applied.add(best.id)
        self.lost.update(p.id for p, _ in discounts if p is not best)
        return best

    def is_open(self, promotion: Promotion) -> bool:
        """Whether it needs no coupon, or the order gives one that names it; and has our currency."""
        named_by = [c for c in self.rules.coupons if promotion.id in c.promotions]
        amounts = [
            promotion.when.min_spend,
            getattr(promotion.effect, "amount", None),
            getattr(promotion.effect, "price", None),
            getattr(promotion.effect, "cap", None),
        ]
        if isinstance(promotion.effect, TieredBySpend):
            amounts += [tier.at_least for tier in promotion.effect.tiers]
        return (not named_by or any(c in self.given for c in named_by)) and all(
            self.cart.currency in amount for amount in amounts if amount is not None
        )

    def fits(self, selector: Selector, line: CartLine) -> bool:
        if line.sku in selector.except_skus:
            return False
        if not selector.skus and not selector.categories:
            return True
        return line.sku in selector.skus or bool(line.categories & selector.categories)

    def selected(self, selector: Selector) -> list[int]:
        """The positions of the lines that fit, first to last."""
        return [i for i, line in enumerate(self.lines) if self.fits(selector, line)]

    def units(self, positions: list[int]) -> int:
        return sum(self.lines[i].quantity for i in positions)

    def spend(self, positions: list[int]) -> int:
        return sum(self.amounts[i] for i in positions)

    def holds(self, promotion: Promotion) -> bool:
        """Whether its selector fits a line and all its conditions hold, on the amounts by now."""
        when, cart = promotion.when, self.cart
        selected = self.selected(promotion.lines)
        weekday = WEEKDAYS[cart.at.astimezone(self.zone).weekday()]
        return (
            len(selected) > 0
            and (when.min_spend is None or self.spend(selected) >= self.exactly(when.min_spend))
            and (when.min_quantity is None or self.units(selected) >= when.min_quantity)
            and (not when.skus or any(x.sku in when.skus for x in self.lines))
            and (not when.categories or any(x.categories & when.categories for x in self.lines))
            and (not when.sources or cart.source in when.sources)
            and (not when.customer_groups or cart.customer_group in when.customer_groups)
            and (not when.first_order or cart.first_order)
            and (not when.weekdays or weekday in when.weekdays)
            and self.is_now(when.valid_from, when.valid_until)
        )

    def is_now(self, valid_from: datetime | None, valid_until: datetime | None) -> bool:
        """Compared in UTC: the hour that a clock shows twice is two hours."""
        now = self.cart.at.astimezone(UTC)
        if valid_from is not None and now < self.in_utc(valid_from):
            return False
        return valid_until is None or now < self.in_utc(valid_until)

    def in_utc(self, moment: datetime) -> datetime:
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=self.zone)
        try:
            return moment.astimezone(UTC)
        except OverflowError:  # the calendar's first or last day
            return (datetime.max if moment.year > 1 else datetime.min).replace(tzinfo=UTC)

    def discounts(self, promotion: Promotion) -> list[int]:
        """What it takes off each line; for shipping one amount."""
        if promotion.target == "lines":
            return self.line_discounts(promotion)
        if promotion.target == "order":
            weights = [
                self.amounts[i] if i in self.selected(promotion.lines) else 0
                for i in range(len(self.lines))
            ]
            return spread(self.order_discount(promotion), weights)
        return [self.shipping_discount(promotion)]

    def line_discounts(self, promotion: Promotion) -> list[int]:
        """Zero for the lines it doesn't look at, and for none more than the line's amount."""
        effect, selected = promotion.effect, self.selected(promotion.lines)
        found = [0 for _ in self.lines]
        match effect:
            case PercentOff():
                for i in selected:
                    found[i] = self.percent_of(self.amounts[i], effect.percent)
                if effect.cap is not None and sum(found) > self.minor(effect.cap):
                    found = spread(self.minor(effect.cap), found)
            case FixedOff():
                for i in selected:
                    found[i] = self.minor(effect.amount) * self.lines[i].quantity
            case FixedPrice():
                for i in selected:
                    wanted = self.minor(effect.price) * self.lines[i].quantity
                    found[i] = max(0, self.amounts[i] - wanted)
            case TieredByQuantity() | TieredBySpend():
                for i in selected:
                    found[i] = self.percent_of(self.amounts[i], self.tier(effect, selected))
            case BuyGet(of=None):
                free = self.units(selected) // (effect.buy + effect.get) * effect.get
                found = self.cheapest(selected, free, effect.percent)
            case BuyGet(of=Selector() as of):
                pool = self.selected(of)
                free = min(self.units(selected) // effect.buy * effect.get, self.units(pool))
                found = self.cheapest(pool, free, effect.percent)
            case CheapestFree():
                found = self.cheapest(selected, self.units(selected) // effect.every, "100")
            case Bundle():
                found = self.bundle(effect)
        return [min(d, a) for d, a in zip(found, self.amounts, strict=True)]

    def order_discount(self, promotion: Promotion) -> int:
        effect, selected = promotion.effect, self.selected(promotion.lines)
        total = self.spend(selected)
        match effect:
            case PercentOff(cap=None):
                return self.percent_of(total, effect.percent)
            case PercentOff(cap=dict() as cap):
                return min(self.percent_of(total, effect.percent), self.minor(cap))
            case FixedOff():
                return min(self.minor(effect.amount), total)
            case TieredByQuantity() | TieredBySpend():
                return self.percent_of(total, self.tier(effect, selected))
        raise AssertionError(effect)

    def shipping_discount(self, promotion: Promotion) -> int:
        effect, costs = promotion.effect, self.shipping
        match effect:
            case PercentOff(cap=None):
                return self.percent_of(costs, effect.percent)
            case PercentOff(cap=dict() as cap):
                return min(self.percent_of(costs, effect.percent), self.minor(cap))
            case FixedOff():
                return min(self.minor(effect.amount), costs)
            case FixedPrice():
                return max(0, costs - self.minor(effect.price))
            case FreeShipping():
                return costs
        raise AssertionError(effect)

    def tier(self, effect: TieredByQuantity | TieredBySpend, selected: list[int]) -> str:
        """The percent of the highest tier reached, of equals the first; nothing if none is."""
        if isinstance(effect, TieredByQuantity):
            have = self.units(selected)
            tiers = [(tier.at_least, tier.percent) for tier in effect.tiers]
        else:
            have = self.spend(selected)
            tiers = [(self.exactly(tier.at_least), tier.percent) for tier in effect.tiers]
        reached = [(at_least, percent) for at_least, percent in tiers if have >= at_least]
        return max(reached, key=lambda r: r[0])[1] if reached else "0"

    def unit_value(self, position: int) -> Fraction:
        return Fraction(self.amounts[position], self.lines[position].quantity)

    def cheapest(self, pool: list[int], number: int, percent: str) -> list[int]:
        """`percent` off so many units of the pool's lines, one unit after the other."""
        units = [i for i in pool for _ in range(self.lines[i].quantity)]
        units.sort(key=lambda i: (self.unit_value(i), i))
        taken = units[:number]
        return [
            self.percent_of(self.unit_value(i) * taken.count(i), percent)
            for i in range(len(self.lines))
        ]

    def bundle(self, effect: Bundle) -> list[int]:
        """The units in bundles are taken from the first line that has some left."""
        there = {
            sku: self.units([i for i, line in enumerate(self.lines) if line.sku == sku])
            for sku in effect.units
        }
        times = min(there[sku] // number for sku, number in effect.units.items())
        wanted = {sku: number * times for sku, number in effect.units.items()}
        values = []
        for i, line in enumerate(self.lines):
            taken = min(line.quantity, wanted.get(line.sku, 0))
            if taken:
                wanted[line.sku] -= taken
            values.append(rounded(self.unit_value(i) * taken, self.mode))
        excess = sum(values) - self.minor(effect.price) * times
        return spread(max(0, excess), values)

    # --- Shipping ---------------------------------------------------------------------------------

    def shipping_method(self) -> str | None:
        if self.cart.shipping_method is not None:
            return self.cart.shipping_method
        return None if self.cart.as_sold else self.rules.shipping.default

    def shipping_price(self, name: str) -> int:
        method = self.rules.shipping.methods.get(name)
        if method is None:
            raise _Refused("no_shipping_method", final=self.cart.shipping_method is not None)
        for rate in method.rates:
            if self.rate_carries(rate) and self.cart.currency in rate.price:
                fits = [rate_fits(rate, reading) for reading in readings(self.cart)]
                if set(fits) == {YES}:
                    return self.minor(rate.price)
                if set(fits) != {NO}:
                    raise _Refused("address_unclear", final=False)
        raise _Refused("no_shipping_rate", final=self.cart.shipping_method is not None)

    def rate_carries(self, rate: ShippingRate) -> bool:
        weight = sum(line.quantity * line.weight for line in self.lines)
        value = sum(self.amounts)
        return (rate.up_to_weight is None or weight <= rate.up_to_weight) and (
            rate.from_value is None
            or (self.cart.currency in rate.from_value and value >= self.exactly(rate.from_value))
        )

    # --- Coupons ----------------------------------------------------------------------------------

    def coupons_given(self) -> list[Coupon]:
        given = []
        for code in self.cart.coupons:
            named = [c for c in self.rules.coupons if c.code == code.upper()]
            if not named:
                raise _Refused("coupon_unknown")
            if not self.is_now(named[0].valid_from, named[0].valid_until):
                raise _Refused("coupon_expired")
            if named[0] not in given:
                given.append(named[0])
        return given

    def coupons_used(self) -> list[str]:
        for coupon in self.given:
            if not any(p in self.applied or p in self.lost for p in coupon.promotions):
                raise _Refused("coupon_not_applicable")
        return [c.code for c in self.given if any(p in self.applied for p in c.promotions)]

    # --- Tax --------------------------------------------------------------------------------------

    def tax_zone(self) -> TaxZone | None:
        if self.at_home:
            bare = [z for z in self.rules.tax.zones if z.region is None and z.postal_prefix is None]
            of_home = [z for z in bare if z.country == self.rules.tax.home]
            return next(iter(of_home + [z for z in bare if z.country == "*"]), None)
        found = [self.tax_zone_of(reading) for reading in readings(self.cart)]
        if any(zone != found[0] for zone in found):
            raise _Refused("address_unclear", final=False)
        return found[0]

    def tax_zone_of(self, cart: Cart) -> TaxZone | None:
        """Of the zones that fit, or may fit, the most specific; the address is unclear if one that
        only may fit is as specific or more, and is another zone."""
        may_fit = []
        for zone in sorted(self.rules.tax.zones, key=lambda each: specific(each, cart)):
            fits = zone_fits(zone, cart)
            if fits == MAYBE:
                may_fit.append(zone)
            elif fits == YES:
                if all((z.name, z.rates) == (zone.name, zone.rates) for z in may_fit):
                    return zone
                may_fit.append(zone)
                break
        if may_fit:
            raise _Refused("address_unclear", final=False)
        return None

    def rate(self, tax_class: str) -> Decimal:
        """The sum of the rates of a class, as a fraction."""
        if not self.rules.tax.zones:
            return Decimal(0)
        zone = self.tax_zone()
        rates = () if zone is None else zone.rates.get(tax_class, ())
        if not rates:
            raise _Refused("no_tax_rate", final=False)
        return sum((Decimal(rate.rate) for rate in rates), Decimal(0))

    def is_exempt(self) -> bool:
        home = self.rules.tax.home
        if self.cart.customer_group in self.rules.tax.exempt_groups:
            return True
        if home is None or self.cart.vat_id is None:
            return False
        registered = self.cart.vat_id.replace(" ", "").upper()[:2]
        registered = "GR" if registered == "EL" else registered
        home = vat_area(replace(self.cart, country=home, region=None, postal_code=None)) or home
        goods = vat_area(self.cart)
        return registered in EU | {"XI"} and registered != home and goods not in (None, home)

    def may_leave(self) -> bool:
        """Whether an address that contradicts itself leaves open if goods are exported or, where
        the customer has a VAT id, if they arrive in the EU's VAT area outside `home`'s."""
        home = self.rules.tax.home
        if home is None:
            return False
        at_home = vat_area(replace(self.cart, country=home, region=None, postal_code=None))
        answers = {
            (
                self.is_export(each),
                self.cart.vat_id is not None and vat_area(each) not in (None, at_home),
            )
            for each in readings(self.cart)
        }
        return len(answers) > 1

    def is_export(self, cart: Cart | None = None) -> bool:
        home, cart = self.rules.tax.home, cart or self.cart
        if home is None:
            return False
        sent = replace(self.cart, country=home, region=None, postal_code=None)
        if taxed_as(cart) == taxed_as(sent):
            return False
        return vat_area(sent) is None or vat_area(cart) is None

    def exact(self, amount: int, rate: Decimal) -> Fraction:
        r = Fraction(rate)
        return amount * r / (1 + r) if self.rules.includes_tax else amount * r

    def taxes(self, items: list[_Taxed]) -> list[int]:
        """The tax of each, rounded where the level says."""
        match self.rules.rounding.level:
            case "line":
                return [rounded(self.exact(x.amount, x.rate), self.mode) for x in items]
            case "unit":
                return [
                    sum(
                        rounded(self.exact(unit, x.rate), self.mode)
                        for unit in spread(x.amount, [1] * x.units)
                    )
                    for x in items
                ]
            case "document":
                found = [0 for _ in items]
                for rate in {x.rate for x in items}:
                    at_rate = [i for i, x in enumerate(items) if x.rate == rate]
                    exact = [self.exact(items[i].amount, rate) for i in at_rate]
                    shares = spread(rounded(sum(exact, Fraction(0)), self.mode), exact)
                    for i, share in zip(at_rate, shares, strict=True):
                        found[i] = share
                return found

    def shipping_parts(self, method: ShippingMethod, lines: list[_Taxed]) -> list[_Taxed]:
        if method.tax != "proportional":
            return [_Taxed(self.shipping, self.rate(method.tax))]
        rates = sorted({line.rate for line in lines})
        goods = [sum(line.amount for line in lines if line.rate == rate) for rate in rates]
        return [
            _Taxed(part, rate)
            for part, rate in zip(spread(self.shipping, goods), rates, strict=True)
        ]

    # --- Total ------------------------------------------------------------------------------------

    def total(self, method: str | None, shipping_price: int, used: list[str]) -> Quote:
        exempt, included = self.is_exempt(), self.rules.includes_tax
        in_group = self.cart.customer_group in self.rules.tax.exempt_groups
        if self.rules.tax.zones and not in_group and self.may_leave():
            raise _Refused("address_unclear", final=False)
        reverse_charge = exempt and self.cart.customer_group not in self.rules.tax.exempt_groups
        if reverse_charge and self.rules.tax.reverse_charge.price == "net":
            self.at_home = True
        lines, parts = [_Taxed(a, Decimal(0)) for a in self.amounts], [_Taxed(0, Decimal(0))]
        if included or not exempt:
            lines = [
                _Taxed(amount, self.rate(line.tax_class), line.quantity)
                for line, amount in zip(self.lines, self.amounts, strict=True)
            ]
            if method is not None:
                parts = self.shipping_parts(self.rules.shipping.methods[method], lines)
        items = lines if method is None else lines + parts
        net_export = included and self.rules.tax.export.price == "net" and self.is_export()
        if net_export and not exempt and self.rules.tax.zones and not any(x.rate for x in items):
            self.at_home = exempt = True
            lines = [
                replace(x, rate=self.rate(y.tax_class))
                for x, y in zip(lines, self.lines, strict=True)
            ]
            if method is not None:
                parts = self.shipping_parts(self.rules.shipping.methods[method], lines)
        taxes = self.taxes(lines + parts)
        shown = self.cart.shown
        if shown is not None and self.cart.as_shown:
            untaxed = exempt and not included
            total = sum(x.amount for x in lines) + self.shipping
            total += 0 if included or untaxed else sum(taxes)
            total -= sum(taxes) if included and exempt else 0
            if total > shown:
                taxes = self.as_shown(lines, parts, taxes, exempt, shown)
        line_taxes, shipping_tax = taxes[: len(lines)], sum(taxes[len(lines) :])

        quoted = {}
        for i, line, item, tax in zip(self.order, self.lines, lines, line_taxes, strict=True):
            quoted[i] = QuotedLine(
                line.sku,
                line.quantity,
                line.unit_price,
                line.unit_price * line.quantity - item.amount,
                "0" if exempt else f"{item.rate.normalize():f}",
                *self.net_tax_gross(item.amount, tax, exempt),
            )
        shipping = None
        if method is not None:
            shipping = QuotedShipping(
                method,
                shipping_price,
                shipping_price - self.shipping,
                *self.net_tax_gross(self.shipping, shipping_tax, exempt),
            )
        everything = [*quoted.values()] + ([shipping] if shipping else [])
        return Quote(
            lines=tuple(quoted[i] for i in range(len(quoted))),
            shipping=shipping,
            net=sum(x.net for x in everything),
            tax=sum(x.tax for x in everything),
            total=sum(x.gross for x in everything),
            includes_tax=included,
            rounding_mode=self.mode,
            rounding_level=self.rules.rounding.level,
            coupons=tuple(used),
        )

    def as_shown(
        self, lines: list[_Taxed], parts: list[_Taxed], taxes: list[int], exempt: bool, shown: int
    ) -> list[int]:
        """Take off what exceeds the total that was shown; the taxes then."""
        shipping_tax = sum(taxes[len(lines) :])
        costs = [
            self.net_tax_gross(x.amount, tax, exempt)[2]
            for x, tax in zip(lines, taxes, strict=False)
        ] + [self.net_tax_gross(self.shipping, shipping_tax, exempt)[2]]
        off = spread(sum(costs) - shown, costs)
        if self.rules.includes_tax or sum(taxes) == 0 or exempt:
            for line, share in zip(lines, off, strict=False):
                line.amount -= share
            self.shipping -= off[-1]
            if exempt:
                return taxes
            if len(parts) > 1:
                goods = [sum(x.amount for x in lines if x.rate == part.rate) for part in parts]
                new = spread(self.shipping, goods)
            else:
                new = [self.shipping]
            for part, amount in zip(parts, new, strict=True):
                part.amount = amount
            return self.taxes(lines + parts)
        left = [cost - share for cost, share in zip(costs, off, strict=True)]
        if len(parts) > 1:
            goods = [sum(x.amount for x in lines if x.rate == part.rate) for part in parts]
            left = left[:-1] + spread(left[-1], goods)
        found = []
        for item, gross in zip(lines + parts, left, strict=True):
            r = Fraction(item.rate)
            tax = max(rounded(gross * r / (1 + r), self.mode), gross - item.amount)
            item.amount = gross - tax
            found.append(tax)
        self.shipping = sum(part.amount for part in parts)
        return found

    def net_tax_gross(self, amount: int, tax: int, exempt: bool) -> tuple[int, int, int]:
        if exempt:
            return amount - tax, 0, amount - tax
        if self.rules.includes_tax:
            return amount - tax, tax, amount
        return amount, tax, amount + tax
