"""An order as upstream systems send it. Unknown fields are refused, by name."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Annotated, Any, Protocol

import pycountry
import stdnum.eu.vat
from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    EmailStr,
    Field,
    ValidationError,
)
from stdnum.exceptions import ValidationError as NotValid

from pipeline.cards import holds_card_number, mask_card_numbers
from pipeline.errors import InvalidInput
from pipeline.money import is_listed, to_minor, to_text
from pipeline.redaction import redact

MOST_LINES = 10_000
MOST_BYTES = 2_000_000
MOST_QUANTITY = 1_000_000
MOST_COUPONS = 10


@cache
def _countries() -> frozenset[str]:
    return frozenset(country.alpha_2 for country in pycountry.countries)


def _country(code: str) -> str:
    if code not in _countries():
        raise ValueError("an ISO 3166-1 alpha-2 country code such as DE")
    return code


def _currency(code: str) -> str:
    if not is_listed(code):
        raise ValueError("an ISO 4217 currency code such as EUR")
    return code


def _no_card_number(text: str) -> str:
    if holds_card_number(text):
        raise ValueError("no payment card number; send the gateway's token instead")
    return text


def _printable(text: str) -> str:
    if not text.isprintable():
        raise ValueError("text without control characters")
    return _no_card_number(text)


def _vat_id(text: str) -> str:
    """In its one form: without spaces and points, beginning with the country."""
    try:
        return stdnum.eu.vat.validate(text)
    except NotValid:
        raise ValueError("a VAT id of an EU country, such as DE136695976") from None


Text = Annotated[str, Field(min_length=1, max_length=255), AfterValidator(_printable)]
Id = Annotated[str, Field(min_length=1, max_length=128), AfterValidator(_printable)]
Sku = Annotated[str, Field(min_length=1, max_length=64), AfterValidator(_printable)]
Country = Annotated[str, AfterValidator(_country)]
CurrencyCode = Annotated[str, AfterValidator(_currency)]
_PRICE = re.compile(r"\d{1,12}(\.\d{1,4})?")
Price = Annotated[str, Field(pattern=f"^{_PRICE.pattern}$", description="a decimal string")]
VatId = Annotated[
    str, Field(min_length=1, max_length=32), AfterValidator(_printable), AfterValidator(_vat_id)
]
Email = Annotated[EmailStr, Field(max_length=254), AfterValidator(_no_card_number)]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Customer(_Strict):
    email: Email | None = None
    name: Text | None = None
    id: Id | None = None
    group: Id | None = None
    vat_id: VatId | None = None


class Address(_Strict):
    country: Country
    postal_code: Text | None = None
    city: Text | None = None
    region: Text | None = None
    street: Text | None = None


class Payment(_Strict):
    method: Id


class LineIn(_Strict):
    sku: Sku
    quantity: Annotated[int, Field(gt=0, le=MOST_QUANTITY)]
    unit_price: Price | None = None


class OrderIn(_Strict):
    """The smallest order: external_id, currency, customer, ship_to.country, one line, payment."""

    external_id: Id
    currency: CurrencyCode
    customer: Customer
    ship_to: Address
    bill_to: Address | None = None
    lines: Annotated[list[LineIn], Field(min_length=1, max_length=MOST_LINES)]
    payment: Payment | None = None
    coupons: Annotated[list[Id], Field(max_length=MOST_COUPONS)] = []
    shipping_method: Id | None = None
    metadata: Annotated[dict[Id, Text], Field(max_length=50)] = {}


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong with one field: its path, the value that was sent, what was expected."""

    field: str
    value: str
    expected: str

    def __str__(self) -> str:
        return f"{self.field}: got {self.value}, expected {self.expected}"


class InvalidOrder(InvalidInput):
    """An order that is not well-formed; `problems` names every bad field at once."""

    def __init__(self, external_id: str | None, problems: list[Problem]) -> None:
        super().__init__("; ".join(str(problem) for problem in problems))
        self.external_id = external_id
        self.problems = problems


@dataclass(frozen=True, slots=True)
class Document:
    """A well-formed order, ready to be stored: prices in minor units, a digest that names its
    content. `unit_prices` are the prices that lines state, as sent, with the line's position."""

    external_id: str
    currency: str
    body: str
    digest: str
    customer: Mapping[str, Any]
    unit_prices: tuple[tuple[int, str], ...] = ()


def read_order(data: Any) -> Document:
    """Check `data` (a decoded JSON object) against the schema; InvalidOrder names every bad field."""
    wrong = list(_prices_finer_than_the_currency(data))
    try:
        order = OrderIn.model_validate(data)
    except ValidationError as error:
        raise InvalidOrder(_external_id(data), wrong + problems(error)) from None
    if wrong:
        raise InvalidOrder(order.external_id, wrong)
    content = order.model_dump(mode="json", exclude_none=True, exclude_defaults=True)
    unit_prices = []
    for n, line in enumerate(content["lines"]):
        if "unit_price" in line:
            unit_prices.append((n, line["unit_price"]))
            line["unit_price"] = to_minor(line["unit_price"], order.currency)
    body = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    encoded = body.encode()
    if len(encoded) > MOST_BYTES:
        raise InvalidOrder(order.external_id, [too_large(len(encoded))])
    digest = hashlib.sha256(encoded).hexdigest()
    return Document(
        order.external_id, order.currency, body, digest, content["customer"], tuple(unit_prices)
    )


def as_sent(body: Mapping[str, Any]) -> dict[str, Any]:
    """A document's body (decoded) as an order that read_order takes: it gives the same document."""
    lines = [
        {**line, "unit_price": to_text(line["unit_price"], body["currency"])}
        if "unit_price" in line
        else line
        for line in body["lines"]
    ]
    return {**body, "lines": lines}


def _prices_finer_than_the_currency(data: Any) -> Iterator[Problem]:
    """What the schema can't say: it needs two fields. Looks at `data` as sent, so that these are
    named along with all else that is wrong; what is malformed is left to the schema."""
    lines = data.get("lines") if isinstance(data, Mapping) else None
    if not isinstance(lines, list) or not _is_currency(data.get("currency")):
        return
    for n, line in enumerate(lines):
        price = line.get("unit_price") if isinstance(line, Mapping) else None
        if isinstance(price, str) and _PRICE.fullmatch(price):
            try:
                to_minor(price, data["currency"])
            except InvalidInput as error:
                yield Problem(f"lines.{n}.unit_price", _shown(price), str(error))


def _is_currency(code: Any) -> bool:
    return isinstance(code, str) and is_listed(code)


def too_large(size: int) -> Problem:
    return Problem("order", f"{size:,} bytes", f"at most {MOST_BYTES:,} bytes")


def _external_id(data: Any) -> str | None:
    found = data.get("external_id") if isinstance(data, Mapping) else None
    if not isinstance(found, str):
        return None
    # As far as it can be kept at all: no card number, nothing that no database can store.
    printable = found if found.isprintable() else ascii(found)
    return fit_to_show(printable) if holds_card_number(printable) else printable[:128]


#: What its sentences begin with; the rest says what was expected.
_PYDANTIC = re.compile(r"^(Value error, |Input should be |\w+ should have )")


class Refused(Protocol):
    """A ValidationError of pydantic, or what stands for one."""

    def errors(self) -> Sequence[Any]: ...


def problems(error: Refused, skip: int = 0) -> list[Problem]:
    """What a model refused, in our words; `skip` so many parts of each path."""
    return [_problem(e, e["loc"][skip:]) for e in error.errors()]


def _problem(error: Any, path: Sequence[Any]) -> Problem:
    field = fit_to_show(mask_card_numbers(".".join(str(part) for part in path)))
    message = _PYDANTIC.sub("", error["msg"])
    value = error["input"]
    if error["type"] == "missing":
        return Problem(field, "nothing", "a value")
    if error["type"] == "extra_forbidden":
        return Problem(field, _shown(value), "no such field")
    if error["type"] == "string_pattern_mismatch":
        return Problem(field, _shown(value), "a decimal string such as 12.50")
    if not field and ": " in message:  # a rule over several fields, which names its field itself
        field, message = message.split(": ", 1)
        value = value.get(field) if isinstance(value, Mapping) else getattr(value, field, None)
    return Problem(field or "order", _shown(value), message)


def _shown(value: Any) -> str:
    """The value as sent, cut short; never what may be a card number."""
    text = json.dumps(value, default=str, ensure_ascii=False)
    # What can't be printed can't be stored either (lone surrogates): escaped.
    return fit_to_show(text if text.isprintable() else json.dumps(value, default=str))


def fit_to_show(text: str) -> str:
    """What was sent, without keys and passwords, cut short to 80 characters; "(withheld)" where it
    may hold a card number."""
    try:
        _no_card_number(text)
    except ValueError:
        return "(withheld)"
    text = redact(text)
    return text if len(text) <= 80 else text[:79] + "…"
