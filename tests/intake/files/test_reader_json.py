"""JSON lines: one order a line; what can't be read is rejected, and the next line is read."""

from __future__ import annotations

import gzip
import json
import tracemalloc
from pathlib import Path

import pytest

from pipeline.errors import InvalidInput
from tests.intake.files.helpers import faults, is_sound, json_file, read
from tests.support import an_order


def test_one_order_a_line(tmp_path: Path) -> None:
    path = json_file(tmp_path, an_order(external_id="a"), "", an_order(external_id="b"))

    orders = read(path)

    assert [(each.line, each.external_id) for each in orders] == [(1, "a"), (3, "b")]
    assert all(map(is_sound, orders))


@pytest.mark.parametrize(
    "line", ['{"external_id": ', "{} {}", "\x00", "[" * 100_000, '"\\ud800"', "nonsense"]
)
def test_a_line_that_is_no_order_is_a_rejection_not_the_end(tmp_path: Path, line: str) -> None:
    path = json_file(tmp_path, line, an_order())

    bad, good = read(path)

    assert faults(bad)[0].line == 1
    assert is_sound(good)


def test_a_line_that_is_not_utf_8_is_a_rejection_not_the_end(tmp_path: Path) -> None:
    path = tmp_path / "orders.jsonl"
    path.write_bytes(b'{"external_id": "\xff"}\n' + json.dumps(an_order()).encode())

    bad, good = read(path)

    assert faults(bad)[0].reason == "not utf-8 at byte 18"
    assert is_sound(good)


def test_every_fault_of_an_order_is_named_by_its_path(tmp_path: Path) -> None:
    order = an_order(currency="XXX", lines=[("A", 1), ("B", 0)], extra=1)

    (sent,) = read(json_file(tmp_path, order))

    assert {(each.field, each.label) for each in faults(sent)} == {
        ("currency", "currency"), ("lines.1.quantity", "lines.quantity"), ("extra", "extra"),
    }  # fmt: skip


def test_a_line_of_ten_megabytes_is_rejected_with_its_size_and_never_held(tmp_path: Path) -> None:
    path = tmp_path / "orders.jsonl"
    with path.open("w") as file:
        file.write('{"external_id": "' + "x" * 10_000_000 + '"}\n')
        file.write(json.dumps(an_order()))

    tracemalloc.start()
    bad, good = read(path)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert faults(bad)[0].value == "10,000,020 bytes"
    assert faults(bad)[0].reason == "at most 2,000,000 bytes in a line"
    assert is_sound(good)
    assert peak < 8_000_000


def test_gzip_and_a_byte_order_mark_make_no_difference(tmp_path: Path) -> None:
    path = tmp_path / "orders.jsonl.gz"
    path.write_bytes(gzip.compress(b"\xef\xbb\xbf" + json.dumps(an_order()).encode()))

    assert is_sound(read(path)[0])


def test_a_gzipped_file_that_breaks_off_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "orders.jsonl.gz"
    path.write_bytes(gzip.compress(json.dumps(an_order()).encode())[:-20])

    with pytest.raises(InvalidInput, match="breaks off after line 0"):
        read(path)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput, match=r"none.jsonl can't be read: No such file"):
        read(tmp_path / "none.jsonl")
