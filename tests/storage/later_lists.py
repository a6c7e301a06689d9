"""A process of a later release, whose lists of currencies, countries, their parts and time zones lack some.

`python -m tests.storage.later_lists '{"currencies": […], …}'` takes them out of the libraries, then
does what stands on its input, a JSON array: ["run", COMMAND], ["get", PATH], ["post", PATH, BODY],
["turn"]. It prints as JSON what came of each: [exit code or status, what was told].
"""

from __future__ import annotations

import json
import sys
import zoneinfo
from collections.abc import Sequence
from typing import Any

import iso4217
import pycountry


def main() -> None:
    _take_out(**json.loads(sys.argv[1]))
    from tests.storage import later_process  # reads the lists as it is imported

    told = later_process.do(json.loads(sys.stdin.read()))
    print(json.dumps(told))


def _take_out(
    currencies: Sequence[str] = (),
    countries: Sequence[str] = (),
    subdivisions: Sequence[str] = (),
    timezones: Sequence[str] = (),
) -> None:
    for code in currencies:
        name = iso4217.Currency(code).name
        del iso4217.Currency._member_map_[name]
        iso4217.Currency._member_names_.remove(name)
        del iso4217.Currency._value2member_map_[code]
    for code in countries:
        name = pycountry.countries.get(alpha_2=code).name
        pycountry.countries.remove_entry(alpha_2=code)
        # ISO 3166-3 has it from then on.
        pycountry.historic_countries.add_entry(alpha_2=code, name=name)
    for code in subdivisions:
        pycountry.subdivisions.remove_entry(code=code)
    if timezones:
        _forget(timezones)


def _forget(timezones: Sequence[str]) -> None:
    there = zoneinfo.ZoneInfo

    class Lacking(there):  # type: ignore[misc, valid-type]
        def __new__(cls, key: str) -> Any:
            if key in timezones:
                raise zoneinfo.ZoneInfoNotFoundError(f"No time zone found with key {key}")
            return there(key)

    zoneinfo.ZoneInfo = Lacking  # type: ignore[misc]


if __name__ == "__main__":
    main()
