"""Time zones by name. What one is goes with the rules that name it: a release of the lists of zones
may lack it one day, and the rules must price on."""

from __future__ import annotations

import zoneinfo
from base64 import b64decode, b64encode
from importlib import resources
from io import BytesIO
from pathlib import Path
from zlib import compress, decompress

#: What every list has: nothing is kept of it.
UTC = "UTC"


def named(name: str, kept: str | None = None) -> zoneinfo.ZoneInfo:
    """The zone as today's list has it; where it has none of that name, as it was `kept`."""
    try:
        return zoneinfo.ZoneInfo(name)
    except (KeyError, ValueError):
        if kept is None:
            raise
    return zoneinfo.ZoneInfo.from_file(BytesIO(decompress(b64decode(kept))), key=name)


def kept(name: str) -> str | None:
    """What `named` makes the zone from again, of one that is in today's list; None for UTC."""
    return None if name == UTC else b64encode(compress(_data(name))).decode()


def _data(name: str) -> bytes:
    """Its file (RFC 8536), from where Python has it: the system's, else the package tzdata's."""
    for folder in zoneinfo.TZPATH:
        if (path := Path(folder, name)).is_file():
            return path.read_bytes()
    return resources.files("tzdata").joinpath("zoneinfo", *name.split("/")).read_bytes()
