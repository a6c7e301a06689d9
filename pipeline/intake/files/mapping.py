"""A mapping: which column of a CSV file is which field of an order. Written as TOML by an operator.

order_key = "InvoiceNo"                  # rows that share it are one order
[order]
currency = {value = "GBP"}               # a constant
customer.id = {column = "CustomerID", clean = ["strip", "drop_decimal_zero"]}
ship_to.country = {column = "Country"}   # names become codes
[line]
sku = {column = "StockCode", clean = ["strip", "upper"]}
quantity = {column = "Quantity"}
unit_price = {column = "UnitPrice", positive = true}
[countries]
EIRE = "IE"
[[reject]]
column = "InvoiceNo"
starts_with = "C"
reason = "cancellation"
"""

from __future__ import annotations

import codecs
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal, Self, TypeVar
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from pipeline.errors import InvalidInput
from pipeline.intake.files.cleaning import Clean
from pipeline.intake.files.numbers import Numbers, Sign, Thousands
from pipeline.intake.schema import Country
from pipeline.source import MissingPrice


def _encoding(name: str) -> str:
    try:
        is_ascii_like = "\n,a".encode(codecs.lookup(name).name) == b"\n,a"
    except LookupError:
        raise ValueError("an encoding such as utf-8 or cp1252") from None
    if not is_ascii_like:
        raise ValueError("an encoding that extends ASCII; convert the file first, with iconv")
    return name


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class Cell(_Strict):
    """Where a field's value comes from: a column, or a constant. An empty cell is no value."""

    column: str | None = None
    value: str | None = None
    # Not strict here: TOML has lists only.
    clean: Annotated[tuple[Clean, ...], Field(strict=False)] = ()
    positive: bool = False

    @model_validator(mode="after")
    def _column_or_value(self) -> Self:
        if (self.column is None) == (self.value is None):
            raise ValueError("exactly one of column and value")
        return self


def _timezone(name: str) -> str:
    try:
        ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        raise ValueError("a time zone such as Europe/Berlin") from None
    return name


class MomentCell(Cell):
    """A time: `format` as strptime has it (left out: ISO 8601), `timezone` where the cell names none."""

    format: Annotated[str, Field(min_length=1)] | None = None
    timezone: Annotated[str, AfterValidator(_timezone)] | None = None


class CustomerCells(_Strict):
    id: Cell | None = None
    email: Cell | None = None
    name: Cell | None = None
    group: Cell | None = None
    vat_id: Cell | None = None


class AddressCells(_Strict):
    country: Cell
    postal_code: Cell | None = None
    city: Cell | None = None
    region: Cell | None = None
    street: Cell | None = None


class PaymentCells(_Strict):
    method: Cell


class OrderCells(_Strict):
    external_id: Cell | None = Field(None, description="left out: the order key as it stands")
    currency: Cell
    customer: CustomerCells = CustomerCells()
    ship_to: AddressCells
    bill_to: AddressCells | None = None
    payment: PaymentCells | None = None
    coupons: Cell | None = Field(None, description="several are separated by |")
    shipping_method: Cell | None = None
    total: Cell | None = None
    placed_at: MomentCell | None = None
    metadata: dict[str, Cell] = {}


class LineCells(_Strict):
    sku: Cell
    quantity: Cell
    unit_price: Cell | None = None
    name: Cell | None = Field(None, description="no part of an order; names a derived product")


NO_QUOTE = "none"


def _quote(text: str) -> str:
    if text != NO_QUOTE and (len(text) != 1 or text in "\r\n"):
        raise ValueError(f'the one character that encloses cells, such as "\\"", or "{NO_QUOTE}"')
    return text


class Csv(_Strict):
    """How the file is written. Quotes enclose cells, but for files with tabs: their quotes are text,
    unless the mapping says that they enclose cells."""

    delimiter: Annotated[str, Field(min_length=1, max_length=1)] = ","
    encoding: Annotated[str, AfterValidator(_encoding)] = "utf-8"
    quote: Annotated[str, AfterValidator(_quote)] | None = None
    decimal: Literal[".", ","] = "."
    thousands: Thousands | None = None
    # Not strict here: TOML has lists only.
    currency_signs: Annotated[tuple[Sign, ...], Field(strict=False)] = ()

    @model_validator(mode="after")
    def _told_apart(self) -> Self:
        if self.quote == self.delimiter:
            raise ValueError("quote: another character than the delimiter")
        if self.thousands == self.decimal:
            raise ValueError("thousands: another character than decimal")
        return self

    @property
    def quote_character(self) -> str | None:
        """What encloses cells, or None where nothing does."""
        if self.quote is None:
            return None if self.delimiter == "\t" else '"'
        return None if self.quote == NO_QUOTE else self.quote

    @property
    def numbers(self) -> Numbers:
        return Numbers(self.decimal, self.thousands, self.currency_signs)


class Skip(_Strict):
    """Passes over such a row, which is no order's: a total, a footer."""

    column: str
    starts_with: str | None = None
    equals: str | None = None

    @model_validator(mode="after")
    def _one_test(self) -> Self:
        if (self.starts_with is None) == (self.equals is None):
            raise ValueError("exactly one of starts_with and equals")
        return self

    def matches(self, text: str) -> bool:
        if self.starts_with is not None:
            return text.startswith(self.starts_with)
        return text == self.equals


class Reject(Skip):
    """Refuses every order that has such a row."""

    reason: Annotated[str, Field(min_length=1, max_length=64)]


class CsvMapping(_Strict):
    """What every mapping has: how the CSV is written."""

    csv: Csv = Csv()


class Mapping(CsvMapping):
    """A mapping for orders. `missing_price` is for this file what the policy of that name says for
    its source; left out, the policy counts."""

    order_key: str
    missing_price: MissingPrice | None = None
    order: OrderCells
    line: LineCells
    countries: dict[str, Country] = {}
    reject: list[Reject] = []
    skip: list[Skip] = []


Path_ = tuple[str, ...]


def cells_of(model: BaseModel | dict[str, Cell]) -> Iterator[tuple[Path_, Cell]]:
    """Every cell of a table with the path of its field: ("ship_to", "country"), Cell(…)."""
    return _cells((), dict(model))


def _cells(path: Path_, value: Any) -> Iterator[tuple[Path_, Cell]]:
    if isinstance(value, Cell):
        yield path, value
    elif isinstance(value, BaseModel | dict):
        for name, inner in dict(value).items():
            yield from _cells((*path, name), inner)


M = TypeVar("M", bound=CsvMapping)


def load_mapping(path: Path) -> Mapping:
    """Read a mapping file for orders; InvalidInput names every key that is wrong."""
    return load(path, Mapping)


def load(path: Path, kind: type[M]) -> M:
    """Read a mapping file of any kind; errors as for `load_mapping`."""
    try:
        return kind.model_validate(tomllib.loads(path.read_text("utf-8")))
    except OSError as error:
        raise InvalidInput(f"{path} can't be read: {error.strerror}") from None
    except ValidationError as error:
        raise InvalidInput(f"{path}: " + "; ".join(map(_said, error.errors()))) from None
    except ValueError as error:  # not TOML, or not UTF-8
        raise InvalidInput(f"{path} is not TOML: {error}") from None


def _said(error: Any) -> str:
    key = ".".join(str(part) for part in error["loc"])
    if error["type"] == "missing":
        return f"{key} is missing"
    if error["type"] == "extra_forbidden":
        return f"there is no key {key}"
    return f"{key}: got {error['input']!r}, expected {error['msg'].removeprefix('Value error, ')}"
