"""An order as upstream systems send it. Unknown fields are refused, by name."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any

import stdnum.eu.vat
from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    TypeAdapter,
    ValidationError,
    model_validator,
)
from stdnum.exceptions import ValidationError as NotValid

from pipeline.cards import holds_card_number
from pipeline.errors import InvalidInput
from pipeline.intake.addresses import address_of
from pipeline.money import MOST_AMOUNT, is_known, is_listed, most_text, to_minor, to_text
from pipeline.places.countries import country_code, was_country
from pipeline.problems import (
    MOST_PROBLEMS,
    Problem,
    first_of,
    fit_to_show,
    name_to_show,
    problems,
    value_to_show,
)
from pipeline.text import harmless, plain

MOST_LINES = 10_000
MOST_BYTES = 2_000_000
MOST_QUANTITY = 1_000_000
MOST_COUPONS = 10
MOST_CODE = 128
#: Names in one object. None of ours has more than `metadata` may have.
MOST_NAMES = 100
#: Lines that are looked at together for what is wrong with them.
_SOME_LINES = 20


_A_COUNTRY = "a country, by its ISO 3166-1 code or its name, such as DE"
_A_CURRENCY = "an ISO 4217 currency code such as EUR"


def _country(written: str) -> str:
    code = country_code(written)
    if code is None:
        raise ValueError(_A_COUNTRY)
    return code


def _country_once(written: str) -> str:
    """A code that has left the list was one when the order came for the first time."""
    return written if was_country(written) else _country(written)


def _currency(code: str) -> str:
    if not is_listed(code):
        raise ValueError(_A_CURRENCY)
    return code


def _currency_once(code: str) -> str:
    if not is_known(code):
        raise ValueError(_A_CURRENCY)
    return code


def no_card_number(text: str) -> str:
    """For free text. Ids look like cards' numbers too often, so they are not asked."""
    if holds_card_number(text):
        raise ValueError("no payment card number; send the gateway's token instead")
    return text


def _printable(text: str) -> str:
    if not text.isprintable():
        raise ValueError("text without control characters")
    return text


def _on_one_line(text: str) -> str:
    return no_card_number(harmless(text))


def _as_written(text: str) -> str:
    return no_card_number(harmless(text, breaks=True))


#: What a selection drags along before and behind a code.
_ENDS = "\t\n\v\f\r\x85\u2028\u2029"


def _pasted(text: str) -> str:
    return _on_one_line(text.strip(_ENDS) or text)


def _vat_id(text: str) -> str | None:
    """In its one form: without spaces, points and what nobody sees, beginning with the country."""
    if not text.strip():
        return None
    try:
        return stdnum.eu.vat.validate(plain(_on_one_line(text.strip())))
    except NotValid:
        raise ValueError("a VAT id of an EU country, such as DE136695976") from None


def _email(text: str) -> str | None:
    """In the one form of those that mail can be sent to; any other as it was written."""
    return address_of(no_card_number(text)) if text.strip() else None


def _without_empty(given: Any) -> Any:
    """An entry of "" says nothing."""
    if isinstance(given, dict) and "" in given.values():
        return {name: value for name, value in given.items() if value != ""}
    return given


def _or_nothing(given: Any) -> Any:
    """What is empty all through is not there."""
    if isinstance(given, dict) and given and all(value in ("", None) for value in given.values()):
        return None
    return given


_MOMENT = re.compile(
    r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d([.]\d{1,9})?)?(Z|[+-]\d\d:?\d\d)", re.ASCII
)
_EARLIEST = datetime(1970, 1, 1, tzinfo=UTC)


def _moment(text: str) -> str:
    """In its one form: in UTC, so that the same moment is the same content."""
    try:
        at = datetime.fromisoformat(text).astimezone(UTC) if _MOMENT.fullmatch(text) else None
    except (ValueError, OverflowError):
        at = None
    if at is None or at < _EARLIEST:
        raise ValueError("a time with its zone, such as 2026-11-09T10:30:00+01:00")
    return at.isoformat()


#: What a system made and knows a thing by: kept to the letter, whatever it looks like.
Id = Annotated[str, Field(min_length=1, max_length=128), AfterValidator(_printable)]
Sku = Annotated[str, Field(min_length=1, max_length=64), AfterValidator(_printable)]
#: Names in which card numbers turn up, as shops let people fill them in.
CheckedId = Annotated[Id, AfterValidator(no_card_number)]
#: What people write, on one line or, as addresses and messages, on several.
Text = Annotated[str, Field(min_length=1, max_length=255), AfterValidator(_on_one_line)]
Lines = Annotated[str, Field(min_length=1, max_length=255), AfterValidator(_as_written)]
Code = Annotated[str, Field(min_length=1, max_length=MOST_CODE), AfterValidator(_on_one_line)]
#: What people paste: pipeline.pricing.codes says what they mean.
Coupon = Annotated[str, Field(min_length=1, max_length=MOST_CODE), AfterValidator(_pasted)]
Country = Annotated[str, AfterValidator(_country)]
CurrencyCode = Annotated[str, AfterValidator(_currency)]
#: As orders have them. The lists are asked of what is new alone: `Document.unlisted`.
CountryOnce = Annotated[str, AfterValidator(_country_once)]
CurrencyOnce = Annotated[str, AfterValidator(_currency_once)]
_PRICE = re.compile(r"[0-9]{1,12}(\.[0-9]{1,4})?")
Price = Annotated[str, Field(pattern=f"^{_PRICE.pattern}$", description="a decimal string")]
Moment = Annotated[str, AfterValidator(_moment), Field(json_schema_extra={"format": "date-time"})]
VatId = Annotated[str, Field(min_length=1, max_length=32), AfterValidator(_vat_id)]
Email = Annotated[
    str,
    Field(min_length=1, max_length=2_048, json_schema_extra={"format": "email"}),
    AfterValidator(_email),
]


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class _Told(_Strict):
    """Where a field may be left out, "" leaves it out, as an empty cell of a file does."""

    @model_validator(mode="before")
    @classmethod
    def _leave_out_empty(cls, given: Any) -> Any:
        if not isinstance(given, dict) or "" not in given.values():
            return given
        fields = cls.model_fields
        return {
            name: value
            for name, value in given.items()
            if value != "" or name not in fields or fields[name].is_required()
        }


class Customer(_Told):
    email: Email | None = None
    name: Text | None = None
    id: CheckedId | None = None
    group: CheckedId | None = None
    vat_id: VatId | None = None


class Address(_Told):
    country: CountryOnce
    postal_code: Lines | None = None
    city: Lines | None = None
    region: Lines | None = None
    street: Lines | None = None


class Payment(_Strict):
    method: CheckedId


class LineIn(_Strict):
    sku: Sku
    quantity: Annotated[int, Field(gt=0, le=MOST_QUANTITY)]
    unit_price: Price | None = None


class OrderIn(_Told):
    """The smallest order: external_id, currency, customer, ship_to.country, one line, payment."""

    external_id: Id
    currency: CurrencyOnce
    customer: Customer
    ship_to: Address
    bill_to: Annotated[Address | None, BeforeValidator(_or_nothing)] = None
    lines: Annotated[list[LineIn], Field(min_length=1, max_length=MOST_LINES)]
    payment: Payment | None = None
    coupons: Annotated[list[Coupon], Field(max_length=MOST_COUPONS)] = []
    shipping_method: CheckedId | None = None
    total: Annotated[
        Price | None, Field(description="what the customer was shown, all included")
    ] = None
    placed_at: Annotated[Moment | None, Field(description="when the customer ordered")] = None
    metadata: Annotated[
        dict[Code, Lines], Field(max_length=50), BeforeValidator(_without_empty)
    ] = {}


class InvalidOrder(InvalidInput):
    """An order that is not well-formed; `problems` names every bad field at once, up to 100 of them;
    `more` is how many others there are."""

    def __init__(self, external_id: str | None, problems: Sequence[Problem], more: int = 0) -> None:
        self.external_id = external_id
        first, further = first_of(problems)
        self.problems = list(first)
        self.more = more + further
        told = "; ".join(str(problem) for problem in self.problems)
        super().__init__(f"{told}; and {self.more:,} more" if self.more else told)


@dataclass(frozen=True, slots=True)
class Document:
    """A well-formed order, ready to be stored: prices in minor units, a digest that names its
    content. `unit_prices` are the prices that lines state, as sent, with the line's position;
    `total` is in minor units; `unpriced` are the positions of lines that state no price; `unlisted`
    is what no list has by now: only an order that is here already may have it."""

    external_id: str
    currency: str
    body: str
    digest: str
    customer: Mapping[str, Any]
    unit_prices: tuple[tuple[int, str], ...] = ()
    total: int | None = None
    placed_at: datetime | None = None
    unpriced: tuple[int, ...] = ()
    unlisted: tuple[Problem, ...] = ()


def read_order(data: Any) -> Document:
    """Check `data` (a decoded JSON object) against the schema; InvalidOrder names every bad field."""
    if crowded := list(_crowded(data)):
        raise InvalidOrder(_external_id(data), crowded)
    wrong, unlisted = list(_finer_than_the_currency(data)), list(_unlisted(data))
    try:
        order = OrderIn.model_validate(data)
    except ValidationError as error:
        found = _problems_of(data, error)
        more = error.error_count() - len(found)
        raise InvalidOrder(_external_id(data), wrong + unlisted + found, more) from None
    if wrong:
        raise InvalidOrder(order.external_id, wrong + unlisted)
    content = order.model_dump(mode="json", exclude_none=True, exclude_defaults=True)
    unit_prices, unpriced = [], []
    for n, line in enumerate(content["lines"]):
        if "unit_price" in line:
            unit_prices.append((n, line["unit_price"]))
            line["unit_price"] = to_minor(line["unit_price"], order.currency)
        else:
            unpriced.append(n)
    if order.total is not None:
        content["total"] = to_minor(order.total, order.currency)
    amounts = [line.get("unit_price", 0) * line["quantity"] for line in content["lines"]]
    if sum(amounts) > MOST_AMOUNT:
        raise InvalidOrder(order.external_id, list(_too_dear(order, amounts)))
    body = json.dumps(content, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    encoded = body.encode()
    if len(encoded) > MOST_BYTES:
        raise InvalidOrder(order.external_id, [too_large(len(encoded))])
    digest = hashlib.sha256(encoded).hexdigest()
    return Document(
        order.external_id, order.currency, body, digest, content["customer"], tuple(unit_prices),
        content.get("total"),
        None if order.placed_at is None else datetime.fromisoformat(order.placed_at),
        tuple(unpriced),
        tuple(unlisted),
    )  # fmt: skip


def _crowded(data: Any) -> Iterator[Problem]:
    """Objects with so many names that it would take long to say what is wrong with each."""
    if not isinstance(data, dict):
        return
    lines = data.get("lines")
    inside = [(name, each) for name, each in data.items() if isinstance(each, dict)]
    within_lines = [
        (f"lines.{n}", line)
        for n, line in enumerate(lines[:MOST_LINES] if isinstance(lines, list) else ())
        if isinstance(line, dict) and len(line) > MOST_NAMES
    ]
    for field, each in [("order", data), *inside[:MOST_NAMES], *within_lines]:
        if len(each) > MOST_NAMES:
            yield Problem(fit_to_show(field), f"{len(each):,} names", f"at most {MOST_NAMES}")


def _problems_of(data: Any, error: ValidationError) -> list[Problem]:
    """What is wrong with an order, as far as it will be named. pydantic tells of all or of none, and
    a short body can have thousands of lines: they are looked at again, a few at a time."""
    lines = data.get("lines") if isinstance(data, dict) else None
    if error.error_count() <= MOST_PROBLEMS or not isinstance(lines, list):
        return problems(error)
    found: list[Problem] = []
    with_others = lines if len(lines) > MOST_LINES else [{"sku": "any", "quantity": 1}]
    try:
        OrderIn.model_validate({**data, "lines": with_others})
    except ValidationError as wrong:
        found += problems(wrong)
    for start in range(0, min(len(lines), MOST_LINES), _SOME_LINES):
        if len(found) >= MOST_PROBLEMS:
            break
        try:
            _LINES.validate_python(lines[start : start + _SOME_LINES])
        except ValidationError as wrong:
            found += problems(wrong, first_line=start)
    return found[:MOST_PROBLEMS]


_LINES = TypeAdapter(list[LineIn])


def as_sent(body: Mapping[str, Any]) -> dict[str, Any]:
    """A document's body (decoded) as an order that read_order takes: it gives the same document."""
    currency = body["currency"]
    lines = [
        {**line, "unit_price": to_text(line["unit_price"], currency)}
        if "unit_price" in line
        else line
        for line in body["lines"]
    ]
    sent = {**body, "lines": lines}
    return {**sent, "total": to_text(body["total"], currency)} if "total" in body else sent


def _finer_than_the_currency(data: Any) -> Iterator[Problem]:
    """What the schema can't say: it needs two fields. Looks at `data` as sent, so that these are
    named along with all else that is wrong; what is malformed is left to the schema."""
    if not isinstance(data, Mapping) or not _is_currency(data.get("currency")):
        return
    for field, price in _stated_amounts(data):
        if isinstance(price, str) and _PRICE.fullmatch(price):
            try:
                to_minor(price, data["currency"])
            except InvalidInput as error:
                yield Problem(field, value_to_show(price), str(error))


def _unlisted(data: Any) -> Iterator[Problem]:
    """What has left the lists, where the schema lets it pass."""
    if not isinstance(data, Mapping):
        return
    currency = data.get("currency")
    if isinstance(currency, str) and is_known(currency) and not is_listed(currency):
        yield Problem("currency", value_to_show(currency), _A_CURRENCY)
    for name in ("ship_to", "bill_to"):
        address = data.get(name)
        code = address.get("country") if isinstance(address, Mapping) else None
        if isinstance(code, str) and was_country(code):
            yield Problem(f"{name}.country", value_to_show(code), _A_COUNTRY)


def _stated_amounts(data: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    lines = data.get("lines")
    for n, line in enumerate(lines if isinstance(lines, list) else ()):
        if isinstance(line, Mapping):
            yield f"lines.{n}.unit_price", line.get("unit_price")
    yield "total", data.get("total")


def _too_dear(order: OrderIn, amounts: Sequence[int]) -> Iterator[Problem]:
    """Of an order that costs more than any amount may be: its lines that do, or all of them."""
    expected = f"at most {most_text(order.currency)}"
    dear = [n for n, amount in enumerate(amounts) if amount > MOST_AMOUNT]
    for n in dear:
        line = order.lines[n]
        yield Problem(f"lines.{n}", f"{line.quantity} × {line.unit_price}", expected)
    if not dear:
        yield Problem("lines", f"{to_text(sum(amounts), order.currency)} in all", expected)


def _is_currency(code: Any) -> bool:
    return isinstance(code, str) and is_known(code)


def too_large(size: int) -> Problem:
    return Problem("order", f"{size:,} bytes", f"at most {MOST_BYTES:,} bytes")


def _external_id(data: Any) -> str | None:
    found = data.get("external_id") if isinstance(data, Mapping) else None
    return name_to_show(found) if isinstance(found, str) else None
