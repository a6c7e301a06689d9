"""What the documentation says is what the code does."""

from docs.diagram import PAGE, render


def test_the_diagram_of_the_statuses_is_drawn_from_the_table_of_moves() -> None:
    drawn = render()

    written = PAGE.read_text(encoding="utf-8")

    assert written == drawn, "run `python -m docs.diagram`"
