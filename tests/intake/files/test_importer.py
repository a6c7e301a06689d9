"""Importing orders: one verdict each, figures that add up, and again is the same."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import psutil
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pipeline.errors import InvalidInput
from pipeline.intake.accept import Intake, Receipt, Verdict
from pipeline.intake.files import reader
from pipeline.intake.files.batches import MOST_ITEMS, batches
from pipeline.intake.files.importer import Summary, import_orders
from pipeline.intake.files.rows import Row
from pipeline.intake.files.tally import Progress
from pipeline.intake.schema import Document
from pipeline.source import Policy, Source
from pipeline.storage.database import Database
from tests.intake.files.helpers import HEADER, csv_file, json_file, mapping, row, written
from tests.support import Mill, an_order

MakeMill = Callable[..., Mill]
AS_SOLD = Policy(price_policy="as_sold")
SOURCE = Source(id=1, name="shop", policy=AS_SOLD)


def adds_up(summary: Summary) -> bool:
    verdicts = summary.accepted + summary.rejected + summary.duplicates + summary.conflicts
    return verdicts == summary.read and summary.reasons.total() == summary.rejected


def stored(shop: Mill) -> list[tuple[str, str]]:
    """(external id, digest) of the orders in the database."""
    return [
        tuple(found)
        for found in shop.query(
            "SELECT external_id, digest FROM orders JOIN order_documents ON order_id = orders.id"
            " ORDER BY external_id"
        )
    ]


def test_every_order_gets_its_verdict(mill: MakeMill, tmp_path: Path) -> None:
    shop = mill(policy=AS_SOLD)
    path = csv_file(
        tmp_path, row("1"), row("1"), row("2", qty="0"), row("C3"), row("4"), row("5"), row("6")
    )
    import_orders(shop.intake, shop.source, csv_file(tmp_path, row("4"), name="a.csv"), mapping())
    other = csv_file(tmp_path, row("5", qty="9"), name="b.csv")
    import_orders(shop.intake, shop.source, other, mapping())

    summary = import_orders(shop.intake, shop.source, path, mapping())

    assert (summary.read, summary.rows) == (6, 7)
    assert (summary.accepted, summary.duplicates, summary.conflicts) == (2, 1, 1)
    assert (summary.rejected, summary.reasons) == (2, {"lines.quantity": 1, "cancellation": 1})
    assert adds_up(summary)
    assert [external_id for external_id, _ in stored(shop)] == ["1", "4", "5", "6"]


def test_importing_again_changes_nothing(mill: MakeMill, tmp_path: Path) -> None:
    shop = mill(policy=AS_SOLD)
    path = csv_file(tmp_path, row("1"), row("2"), row("3", price="0"))
    first = import_orders(shop.intake, shop.source, path, mapping())
    before = stored(shop)

    again = import_orders(shop.intake, shop.source, path, mapping())

    assert (again.accepted, again.duplicates, again.rejected) == (0, 2, 1)
    assert again.accepted_value == first.accepted_value == {"EUR": 4000}
    assert stored(shop) == before


def test_an_order_with_another_content_in_another_file_is_a_conflict_and_no_second_order(
    mill: MakeMill, tmp_path: Path
) -> None:
    shop = mill(policy=AS_SOLD)
    rejects = tmp_path / "rejects.csv"
    path = csv_file(tmp_path, row("1"), row("2"))
    import_orders(shop.intake, shop.source, path, mapping())
    changed = csv_file(tmp_path, row("3"), row("1", sku="TEE-01"))

    summary = import_orders(shop.intake, shop.source, changed, mapping(), rejects)

    assert (summary.accepted, summary.conflicts) == (1, 1)
    assert len(stored(shop)) == 3
    (line,) = written(rejects)
    assert (line["line"], line["external_id"], line["field"]) == ("3", "1", "Order")
    assert line["reason"].startswith("the content that order ")


def test_the_reject_file_has_a_line_for_each_fault(mill: MakeMill, tmp_path: Path) -> None:
    shop = mill(policy=AS_SOLD)
    rejects = tmp_path / "rejects.csv"
    path = csv_file(tmp_path, row("1"), row("2", qty="-1"), row("2", price="free"), row("C3"))

    import_orders(shop.intake, shop.source, path, mapping(), rejects)

    assert [list(line.values()) for line in written(rejects)] == [
        ["3", "2", "Qty", "-1", "greater than 0"],
        ["4", "2", "Price", "free", "a decimal string such as 12.50"],
        ["5", "C3", "Order", "C3", "cancellation"],
    ]


def test_the_reject_file_never_replaces_what_is_imported(mill: MakeMill, tmp_path: Path) -> None:
    shop = mill(policy=AS_SOLD)
    path = csv_file(tmp_path, row("1"))

    with pytest.raises(InvalidInput, match="write to another file"):
        import_orders(shop.intake, shop.source, path, mapping(), rejects=path)

    assert path.read_text().endswith("Germany\n")


def test_a_card_number_never_gets_into_the_reject_file(mill: MakeMill, tmp_path: Path) -> None:
    shop = mill(policy=AS_SOLD)
    card, rejects = "4111111111111111", tmp_path / "rejects.csv"
    as_csv = csv_file(tmp_path, row("7", customer=card, qty=card), row("1") + f",{card}")
    as_json = json_file(tmp_path, an_order(**{card: card}), f'{{"{card}"')

    for path, by in ((as_csv, mapping()), (as_json, None)):
        assert import_orders(shop.intake, shop.source, path, by, rejects).rejected == 2
        assert card not in rejects.read_text()


def test_what_no_encoding_can_hold_does_not_end_the_import(mill: MakeMill, tmp_path: Path) -> None:
    shop = mill()
    rejects = tmp_path / "rejects.csv"
    path = json_file(tmp_path, an_order(external_id="\ud800"), an_order())

    summary = import_orders(shop.intake, shop.source, path, rejects=rejects)

    assert (summary.accepted, summary.rejected) == (1, 1)
    assert written(rejects)[0]["external_id"] == "\\ud800"


def test_the_value_is_in_minor_units_by_currency_of_what_states_a_price(
    mill: MakeMill, tmp_path: Path
) -> None:
    shop = mill(policy=Policy(price_policy="as_sold", missing_price="catalogue"))
    yen = [{"sku": "A", "quantity": 3, "unit_price": "120"}]
    mixed = [{"sku": "A", "quantity": 2, "unit_price": "1.5"}, {"sku": "B", "quantity": 9}]
    path = json_file(
        tmp_path,
        {**an_order(currency="JPY"), "lines": yen},
        {**an_order(currency="KWD"), "lines": mixed},
        an_order(),
    )

    summary = import_orders(shop.intake, shop.source, path)

    assert summary.accepted == 3
    assert summary.accepted_value == {"JPY": 360, "KWD": 3000}


def test_json_and_csv_of_the_same_order_are_the_same_order(mill: MakeMill, tmp_path: Path) -> None:
    shop = mill(policy=AS_SOLD)
    as_json = {
        "external_id": "1", "currency": "EUR", "customer": {"id": "17"},
        "ship_to": {"country": "DE"}, "payment": {"method": "invoice"},
        "lines": [{"sku": "MUG-01", "quantity": 2, "unit_price": "10"}],
    }  # fmt: skip

    import_orders(shop.intake, shop.source, json_file(tmp_path, as_json))
    summary = import_orders(shop.intake, shop.source, csv_file(tmp_path, row()), mapping())

    assert summary.duplicates == 1


def test_an_order_of_a_thousand_lines_is_accepted(mill: MakeMill, tmp_path: Path) -> None:
    shop = mill(policy=AS_SOLD)
    path = csv_file(tmp_path, *[row("1", sku=f"S{n}") for n in range(1000)])

    summary = import_orders(shop.intake, shop.source, path, mapping())

    assert (summary.accepted, summary.rows) == (1, 1000)


def test_prices_of_a_source_that_may_not_state_any_are_refused_and_counted_as_one_reason(
    mill: MakeMill, tmp_path: Path
) -> None:
    shop = mill(policy=Policy(price_policy="catalogue"))
    rejects = tmp_path / "rejects.csv"
    path = csv_file(tmp_path, row("1"), row("1", sku="TEE-01"), row("2"), row("3", price=""))

    summary = import_orders(shop.intake, shop.source, path, mapping(), rejects)

    assert (summary.accepted, summary.reasons) == (1, {"lines.unit_price": 2})
    refused = [(line["external_id"], line["field"], line["value"]) for line in written(rejects)]
    assert refused == [
        ("1", "Price", "10.00"),
        ("1", "Price", "10.00"),
        ("2", "Price", "10.00"),
    ]
    assert "price_policy" in written(rejects)[0]["reason"]


def test_progress_tells_bytes_and_figures_after_each_commit(mill: MakeMill, tmp_path: Path) -> None:
    shop = mill(policy=AS_SOLD)
    seen: list[tuple[int, int, int]] = []
    path = csv_file(tmp_path, *[row(str(n)) for n in range(MOST_ITEMS + 1)])

    def note(progress: Progress[Summary]) -> None:
        seen.append((progress.done, progress.total, progress.summary.read))

    import_orders(shop.intake, shop.source, path, mapping(), progress=note)

    size = path.stat().st_size
    assert [read for _, _, read in seen] == [500, 501, 501]
    assert seen[-1] == (size, size, 501)
    assert all(0 < done <= total == size for done, total, _ in seen)


def test_progress_tells_the_first_look_from_the_import_each_by_the_bytes_of_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reader, "LOOK_EVERY", 2_000)
    path = csv_file(tmp_path, *[row(str(n)) for n in range(5_000)])
    seen: list[Progress[Summary]] = []

    import_orders(Willing(), SOURCE, path, mapping(), progress=seen.append)

    looks = [each.done for each in seen if each.is_look]
    assert [each.is_look for each in seen] == [True] * 2 + [False] * (len(seen) - 2)
    assert looks == sorted(set(looks))
    assert all(0 < each.done <= each.total == path.stat().st_size for each in seen)


class Interrupted(Intake):
    """Somebody presses Ctrl-C while the first batch is being committed."""

    def accept_all(self, source: Source, batch: Sequence[Any]) -> list[Receipt]:
        os.kill(os.getpid(), signal.SIGINT)
        return super().accept_all(source, batch)


def test_ctrl_c_waits_for_the_batch_in_hand_and_the_rest_is_for_the_next_run(
    mill: MakeMill, tmp_path: Path
) -> None:
    shop = mill(policy=AS_SOLD)
    impatient = Interrupted(shop.database, lambda made: None)
    path = csv_file(tmp_path, *[row(str(n)) for n in range(MOST_ITEMS + 1)])

    with pytest.raises(KeyboardInterrupt):
        import_orders(impatient, shop.source, path, mapping())

    assert len(stored(shop)) == MOST_ITEMS
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    resumed = import_orders(shop.intake, shop.source, path, mapping())
    assert (resumed.duplicates, resumed.accepted) == (MOST_ITEMS, 1)


def test_a_batch_is_bounded_by_bytes_too() -> None:
    large = [Row(n, [], 1_500_000) for n in range(7)]

    assert [len(batch) for batch in batches(large)] == [3, 3, 1]


_cell = st.sampled_from(["1", "0", "-3", "", " ", "x", '"', "é", "9" * 30, "0.0", "Atlantis"])
_good = st.fixed_dictionaries({}, optional={"qty": _cell, "price": _cell, "country": _cell})
_keys = st.sampled_from(["1", "2", "3", "C4", ""])
_rows = st.builds(lambda key, cells: row(key, **cells), _keys, _good)
_torn = st.sampled_from(["", ",,,,,", "1", "2,MUG-01", '3,"', "1,2,3,4,5,6,7", '1,"a"b,1,1,1,DE'])
_noise = st.text(alphabet='123,"\r\n xé', max_size=12)


@given(lines=st.lists(st.one_of(_rows, _rows, _torn, _noise), max_size=25))
@settings(
    max_examples=150,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
def test_the_verdicts_add_up_whatever_the_file_holds(
    sqlite_database: Database, tmp_path: Path, lines: list[str]
) -> None:
    shop = Mill(sqlite_database)
    before = len(stored(shop))
    path = csv_file(tmp_path, *lines)
    rejects = tmp_path / "rejects.csv"

    summary = import_orders(shop.intake, shop.source, path, mapping(), rejects)

    assert adds_up(summary)
    assert len(stored(shop)) - before == summary.accepted
    named = {line["external_id"] for line in written(rejects)}
    assert bool(named) == bool(summary.rejected + summary.conflicts)


class Willing(Intake):
    """Accepts everything and keeps nothing, so that what is measured is the import's own."""

    def __init__(self) -> None:
        pass

    def accept_all(self, source: Source, batch: Sequence[Any]) -> list[Receipt]:
        assert all(isinstance(document, Document) for document in batch)
        return [Receipt(Verdict.ACCEPTED, document.external_id, 1) for document in batch]


def test_memory_does_not_grow_with_the_file(tmp_path: Path) -> None:
    path = tmp_path / "orders.csv"
    with path.open("w") as file:
        file.write(f"{HEADER}\n")
        file.writelines(f"{n},MUG-01,2,10.00,17,Germany\n" for n in range(50_000))
    process = psutil.Process()
    resident: list[int] = []

    summary = import_orders(
        Willing(), SOURCE, path, mapping(),
        progress=lambda _: resident.append(process.memory_info().rss),
    )  # fmt: skip

    assert summary.accepted == 50_000
    assert max(resident) - resident[5] < 10_000_000  # holding the orders takes 80 MB


@pytest.mark.parametrize(("said", "accepted"), [("", 1), ('missing_price = "catalogue"\n', 2)])
def test_a_line_without_a_price_is_refused_unless_the_mapping_lets_the_catalogue_s_stand_in(
    mill: MakeMill, tmp_path: Path, said: str, accepted: int
) -> None:
    shop = mill(policy=AS_SOLD)
    rejects = tmp_path / "rejects.csv"
    path = csv_file(tmp_path, row("1"), row("2"), row("2", sku="TEE-01", price=""))
    ours = mapping(**{"order_key": f"{said}order_key"})

    summary = import_orders(shop.intake, shop.source, path, ours, rejects)

    assert summary.accepted == accepted
    refused = [(line["line"], line["external_id"], line["field"]) for line in written(rejects)]
    assert refused == [("4", "2", "Price")] * (2 - accepted)
