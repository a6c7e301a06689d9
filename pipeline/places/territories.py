"""Territories that tax treats otherwise than their country's ISO code says: one table, for whatever
asks on which side of a border goods arrive.

What "the directive" means here is Council Directive 2006/112/EC on the common system of VAT, as of
2026: its article 6 takes territories out that belong to member states, its article 7 takes some in
that don't.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

#: The member states: article 5 of the directive, with the treaties of accession.
MEMBER_STATES = frozenset(
    {
        "AT", "BE", "BG", "CY", "CZ", "DE", "DK", "EE", "ES", "FI", "FR", "GR", "HR", "HU", "IE",
        "IT", "LT", "LU", "LV", "MT", "NL", "PL", "PT", "RO", "SE", "SI", "SK",
    }
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Territory:
    """`of` is the country whose addresses it may be written with, and `code` its own, if it has
    one. It is known by that code, by how its postal codes in `of` begin, or by its regions there
    (both as `postal_code` and `region_code` have them). `taxed_as`: the country whose tax is charged there; None: that of no other.
    `in_eu`: it is in the VAT area of the EU, for goods. `source` says so."""

    name: str
    of: str
    source: str
    code: str | None = None
    postal: tuple[str, ...] = ()
    regions: tuple[str, ...] = ()
    taxed_as: str | None = None
    in_eu: bool = False


_6_1 = "Directive 2006/112/EC, article 6(1)"
_6_2 = "Directive 2006/112/EC, article 6(2)"
_7 = "Directive 2006/112/EC, article 7"
_OCT = "TFEU, article 355(2) and annex II: no part of the Union"

TERRITORIES: Sequence[Territory] = (
    # --- Taken in ---------------------------------------------------------------------------------
    Territory(
        "Northern Ireland", "GB",
        "Windsor Framework (Protocol on Ireland/Northern Ireland), article 8 and annex 3; "
        "Directive (EU) 2020/1756",
        "XI", ("BT",), ("NIR",), taxed_as="GB", in_eu=True,
    ),
    Territory("Monaco", "FR", _7, "MC", ("980",), taxed_as="FR", in_eu=True),
    # Treated as the United Kingdom, which has left: outside the EU, inside the UK.
    Territory("Isle of Man", "GB", _7, "IM", ("IM",), taxed_as="GB"),
    # They have addresses of Cyprus; nothing in these tells them apart, and nothing need.
    Territory("Akrotiri and Dhekelia", "CY", _7, taxed_as="CY", in_eu=True),
    # --- Taken out, within the customs territory --------------------------------------------------
    Territory("Mount Athos", "GR", f"{_6_1}(a)", None, ("63086", "63087"), ("69",)),
    Territory("Canary Islands", "ES", f"{_6_1}(b)", "IC", ("35", "38"), ("CN",)),
    Territory("Guadeloupe", "FR", f"{_6_1}(c)", "GP", ("971",), ("971",)),
    Territory("Martinique", "FR", f"{_6_1}(c)", "MQ", ("972",), ("972",)),
    Territory("French Guiana", "FR", f"{_6_1}(c)", "GF", ("973",), ("973",)),
    Territory("Réunion", "FR", f"{_6_1}(c)", "RE", ("974",), ("974",)),
    Territory("Mayotte", "FR", f"{_6_1}(c)", "YT", ("976",), ("976",)),
    Territory("Saint Martin", "FR", f"{_6_1}(c)", "MF", ("97150", "97800"), ("MF",)),
    Territory("Åland Islands", "FI", f"{_6_1}(d)", "AX", ("22",), ("01",)),
    Territory("Jersey", "GB", f"{_6_1}(e)", "JE", ("JE",)),
    Territory("Guernsey", "GB", f"{_6_1}(e)", "GG", ("GY",)),
    Territory("Campione d'Italia", "IT", f"{_6_1}(f)", None, ("22061",)),
    # Nobody lives on it: no address is there.
    Territory("Italian waters of Lake Lugano", "IT", f"{_6_1}(g)"),
    # --- Taken out, outside the customs territory -------------------------------------------------
    Territory("Helgoland", "DE", f"{_6_2}(a)", None, ("27498",)),
    Territory("Büsingen", "DE", f"{_6_2}(b)", None, ("78266",)),
    Territory("Ceuta", "ES", f"{_6_2}(c)", "EA", ("51",), ("CE",)),
    Territory("Melilla", "ES", f"{_6_2}(d)", "EA", ("52",), ("ML",)),
    Territory("Livigno", "IT", f"{_6_2}(e)", None, ("23041",)),
    # --- Never in, though their post is written with a member state's name ------------------------
    Territory("Saint Barthélemy", "FR", _OCT, "BL", ("97133", "97700"), ("BL",)),
    Territory("Saint Pierre and Miquelon", "FR", _OCT, "PM", ("975",), ("PM",)),
    Territory("Wallis and Futuna", "FR", _OCT, "WF", ("986",), ("WF",)),
    Territory("French Polynesia", "FR", _OCT, "PF", ("987",), ("PF",)),
    Territory("New Caledonia", "FR", _OCT, "NC", ("988",), ("NC",)),
    Territory("French Southern Territories", "FR", _OCT, "TF", ("984",), ("TF",)),
    Territory("San Marino", "IT", "a state of its own; postal codes of Italy", "SM", ("4789",)),
    Territory("Vatican City", "IT", "a state of its own; postal codes of Italy", "VA", ("00120",)),
)  # fmt: skip


@cache
def territory_called(code: str) -> Territory | None:
    """The territory whose own code it is. (EA is two, alike to whoever asks.)"""
    return next((each for each in TERRITORIES if each.code == code), None)


@cache
def territories_of(country: str) -> tuple[Territory, ...]:
    """Those that addresses of `country` may be in, by postal code or region; the longest postal
    codes first."""
    found = [each for each in TERRITORIES if each.of == country and each.postal]
    return tuple(sorted(found, key=lambda each: -max(map(len, each.postal))))
