"""What is printed: rows as they are, whatever upstream systems put into them."""

from __future__ import annotations

import pytest

from ordermill.output import show


@pytest.mark.parametrize("sent", ["[/red]", "[red]web-1", ":warning:", "[link=x]"])
def test_what_looks_like_markup_is_printed_as_it_is(
    sent: str, capsys: pytest.CaptureFixture[str]
) -> None:
    show([{"external_id": sent}], False, empty="")

    assert sent in capsys.readouterr().out
