"""Which orders a source's policy holds for where they go."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from pipeline.places.countries import country_code
from pipeline.pricing.address import Destination


def countries_held(held: Collection[str], address: Mapping[str, Any]) -> set[str]:
    """Those of the countries, or territories, `held` by a policy that `address` is in, or may be in."""
    if not held:
        return set()
    country = str(address["country"])
    sent = Destination(country, address.get("region"), address.get("postal_code"))
    # A country that has left its list since is held as it is written.
    return {
        each
        for each in held
        if each == country or sent.is_in(country_code(each) or each) is not False
    }
