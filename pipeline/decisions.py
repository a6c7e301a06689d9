"""What a person may decide about an order on hold: one table, for CLI, API and console alike.

A decision stands beside the document, which stays as it was sent, and the stage that held the order
reads it when the order comes back. Without one, an order that is requeued is held again.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from pipeline.errors import InvalidInput
from pipeline.intake.schema import Address, Country, Id
from pipeline.problems import Problem, problems


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of decision: the hold reasons that it answers, what it does, and the values to choose
    from; none if the value is typed."""

    name: str
    answers: frozenset[str]
    does: str
    choices: Mapping[str, str]

    @property
    def is_personal(self) -> bool:
        """Whether its value says who ordered: then neither the timeline nor a log has it."""
        return self.name == "ship_to"


KINDS: dict[str, Kind] = {
    kind.name: kind
    for kind in (
        Kind(
            "charge",
            frozenset({"total_differs"}),
            "says what is charged",
            {"shown": "the total that the order states, which its customer was shown"},
        ),
        Kind(
            "ship_to",
            frozenset({"address_unclear"}),
            "corrects its address: the fields given stand in for those that were sent",
            {},
        ),
        Kind(
            "tax_zone",
            frozenset({"address_unclear"}),
            "names the tax zone, of its rules, that its address is in",
            {},
        ),
        Kind(
            "vat",
            frozenset({"vat_unverified"}),
            "says whether its VAT id counts",
            {
                "form": "the id is believed by its form, and no tax is charged",
                "tax": "the id does not count, and tax is charged",
            },
        ),
        Kind(
            "wait_until",
            frozenset({"backorder_expired"}),
            "lets it wait for its stock until a day is over, by UTC; then it is held again",
            {},
        ),
    )
}


def _day(value: str) -> str:
    """ISO 8601 knows other spellings of a day; this is the one that everybody reads."""
    try:
        if date.fromisoformat(value).isoformat() == value and value < "3000":
            return value
    except ValueError:
        pass
    raise ValueError("a day, as 2026-12-24")


#: The default of what may be absent and is never null.
_ABSENT: Any = None


class Correction(Address):
    """The fields of the address that are given stand in for those that were sent; null takes one
    away."""

    model_config = ConfigDict(json_schema_extra={"minProperties": 1})

    country: Country = _ABSENT

    @model_validator(mode="after")
    def _says_something(self) -> Correction:
        if not self.model_fields_set:
            raise ValueError("at least one field of the address")
        return self


class DecisionIn(BaseModel):
    """Exactly one decision about an order on hold."""

    model_config = ConfigDict(
        extra="forbid", frozen=True, strict=True,
        json_schema_extra={"minProperties": 1, "maxProperties": 1},
    )  # fmt: skip

    charge: Literal["shown"] = Field(
        _ABSENT, description="Charge the total that the order states, which was shown."
    )
    ship_to: Correction = _ABSENT
    tax_zone: Id = Field(_ABSENT, description="The zone of the order's rules that it goes to.")
    vat: Literal["form", "tax"] = Field(
        _ABSENT, description="Believe the VAT id by its form, or charge tax."
    )
    wait_until: Annotated[str, AfterValidator(_day)] = Field(
        _ABSENT,
        description="The last day on which it waits for its stock, as 2026-12-24.",
        json_schema_extra={"format": "date"},
    )

    @model_validator(mode="after")
    def _is_one(self) -> DecisionIn:
        if len(self.model_fields_set) != 1:
            raise ValueError(f"decision: exactly one of {', '.join(KINDS)}")
        return self

    @property
    def decision(self) -> Decision:
        [name] = self.model_fields_set
        value = getattr(self, name)
        if isinstance(value, Correction):
            value = value.model_dump(mode="json", exclude_unset=True)
        return Decision(KINDS[name], value)


@dataclass(frozen=True, slots=True)
class Decision:
    """Of a kind, with a value that was checked."""

    kind: Kind
    value: Any

    @property
    def told(self) -> dict[str, Any]:
        """As a timeline and a log have it: of an address only which fields were corrected."""
        if self.kind.is_personal:
            return {f"{self.kind.name}_fields": sorted(self.value)}
        return {self.kind.name: self.value}

    def added_to(self, decided: str | None) -> str:
        """What is decided of an order by now, as it is stored; `decided` is what was before."""
        known: dict[str, Any] = json.loads(decided) if decided else {}
        if self.kind.name == "ship_to":
            # A zone was named for the address as it was.
            known.pop("tax_zone", None)
            known["ship_to"] = {**known.get("ship_to", {}), **self.value}
        else:
            known[self.kind.name] = self.value
        return json.dumps(known, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


class InvalidDecision(InvalidInput):
    """A decision that can't be one; `problems` names every bad field."""

    def __init__(self, wrong: list[Problem]) -> None:
        super().__init__("; ".join(str(problem) for problem in wrong))
        self.problems = wrong


def read_decision(given: Mapping[str, Any]) -> Decision:
    """The one decision that `given` holds, {kind: value}. InvalidDecision names field, value and what
    was expected."""
    try:
        return DecisionIn.model_validate(given).decision
    except ValidationError as error:
        raise InvalidDecision(problems(error)) from None


def answers_to(reason: str | None) -> list[Kind]:
    """The kinds of decisions that answer a hold reason."""
    return [kind for kind in KINDS.values() if reason in kind.answers]
