"""A mapping laid on a file's header: the rows of an order in, one judged order out."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import partial
from itertools import islice
from typing import Any

from pipeline.intake.files.cleaning import Clean, cleaned
from pipeline.intake.files.fault import Fault, fault_of, label_of
from pipeline.intake.files.groups import Group
from pipeline.intake.files.mapping import Cell, Mapping
from pipeline.intake.files.rows import Row
from pipeline.intake.files.sent import Sent, judge
from pipeline.intake.files.slots import Slot, position_of, slots_of
from pipeline.intake.schema import MOST_BYTES, MOST_LINES
from pipeline.problems import Problem, fit_to_show

_IN_LINE = re.compile(r"lines\.([0-9]+)\.")


class Sheet:
    """Makes orders of rows. InvalidInput if the header lacks a column that the mapping names."""

    def __init__(self, mapping: Mapping, header: Sequence[str]) -> None:
        order = mapping.order
        if order.external_id is None:
            key = Cell(column=mapping.order_key, clean=("strip",))
            order = order.model_copy(update={"external_id": key})
        self._key_title = mapping.order_key
        self._key = position_of(mapping.order_key, header)
        self._key_clean = _key_clean(mapping.order_key, order.external_id)
        self._width = len(header)
        self._skipped = [(position_of(rule.column, header), rule) for rule in mapping.skip]
        self._rules = [(position_of(rule.column, header), rule) for rule in mapping.reject]
        numbers = mapping.csv.numbers
        self._order = slots_of(order, header, mapping.countries, numbers=numbers)
        line = slots_of(mapping.line, header, mapping.countries, ("lines",), numbers)
        self._line = [slot for slot in line if slot.field != "lines.name"]
        self._name = next((slot for slot in line if slot.field == "lines.name"), None)
        self._by_field = {slot.field: slot for slot in (*self._order, *self._line)}

    def is_skipped(self, row: Row) -> bool:
        """Whether the mapping says that this row is no order's."""
        return any(
            column < len(row.cells) and rule.matches(row.cells[column])
            for column, rule in self._skipped
        )

    def key_of(self, row: Row) -> str:
        """The order key; empty where the row has none that can be read."""
        return self._key_at(row, self._key)

    def read_key(self, row: Row) -> tuple[str, bool, Sequence[str]]:
        """The order key, whether it is sure, and what else it may be: in a row of another width than
        the header nobody can know which cell is missing, or one too many."""
        key = self._key_at(row, self._key)
        if row.broken is None or (key and self._key < row.sure):
            return key, bool(key), ()
        return key, False, (self._key_at(row, self._key + len(row.cells) - self._width),)

    def _key_at(self, row: Row, column: int) -> str:
        if not 0 <= column < len(row.cells):
            return ""
        cell = row.cells[column].strip()
        if row.broken and "\ufffd" in cell:  # what stands for bytes that can't be read
            return ""
        return cleaned(cell, self._key_clean).strip() if self._key_clean else cell

    def sent(self, group: Group) -> Sent:
        """The order that these rows make, judged."""
        faults = self._unreadable(group) or self._refused(group)
        if faults:
            return Sent(group.line, group.count, group.size, group.key or None, faults)
        data, doubts = self._read(group)
        place = partial(self._placed, group.rows)
        judgement = judge(data, doubts, place)
        names = [self._name.read(row) for row in group.rows] if self._name else []
        external_id = data.get("external_id", group.key)
        return Sent(group.line, group.count, group.size, external_id, judgement, data, names, place)

    def _unreadable(self, group: Group) -> list[Fault]:
        """What keeps the order from being known to be whole."""
        if group.is_too_large:
            found = f"{group.count:,} rows, {group.size:,} bytes"
            allowed = f"at most {MOST_LINES:,} rows and {MOST_BYTES:,} bytes"
            return [Fault(group.line, "order", found, allowed, "order")]
        faults = []
        for row in group.rows:
            if row.broken:
                faults.append(Fault(row.line, "row", "", row.broken, "row"))
            elif not group.key:
                faults.append(Fault(row.line, self._key_title, "", "an order key", "order_key"))
        if group.doubt is not None and not faults:
            reason = "a row that can be read: this one may belong to the order"
            faults.append(Fault(group.doubt, "row", "", reason, "row of no known order"))
        if not faults and (repeated := group.repeated()):
            reason = (
                "each part of an order once: these rows stand in another part of it, too; leave "
                "them out, or put all of the order's rows together if they count twice"
            )
            faults.append(Fault(repeated.line, "order", group.key, reason, "repeated"))
        return faults

    def _refused(self, group: Group) -> list[Fault]:
        """The first rule of the mapping that refuses a row; what else is wrong matters no more."""
        for row in group.rows:
            for column, rule in self._rules:
                if rule.matches(row.cells[column]):
                    value = fit_to_show(row.cells[column])
                    return [Fault(row.line, rule.column, value, rule.reason, rule.reason)]
        return []

    def _read(self, group: Group) -> tuple[dict[str, Any], list[Fault]]:
        """The order as JSON would have it, and what the mapping has against it."""
        data: dict[str, Any] = {"customer": {}, "ship_to": {}}
        doubts: list[Fault] = []
        for slot in self._order:
            _put(data, slot.path, self._order_value(slot, group.rows, doubts))
        data["lines"] = [self._line_of(row, doubts) for row in group.rows]
        return data, doubts

    def _order_value(self, slot: Slot, rows: Sequence[Row], doubts: list[Fault]) -> Any:
        """The one value that all rows give, or leave empty: some exports fill in the first only."""
        value = None
        rows = rows if slot.column is not None else rows[:1]
        for row in rows:
            found = slot.read(row)
            if value is None:
                value = found
            elif found is not None and found != value:
                doubts.append(_fault(slot, row, f"{value}, as in the order's rows above"))
        if not slot.takes_all:
            refused = ((row, said) for row in rows if (said := slot.refuses(row)))
            doubts.extend(_fault(slot, row, said) for row, said in islice(refused, 1))
        return value

    def _line_of(self, row: Row, doubts: list[Fault]) -> dict[str, Any]:
        line = {}
        for slot in self._line:
            value = slot.read(row)
            if value is not None:
                line[slot.path[-1]] = value
            if expected := slot.refuses(row):
                doubts.append(_fault(slot, row, expected))
        return line

    def _placed(self, rows: Sequence[Row], problem: Problem) -> Fault:
        """A problem of the schema's, where it stands in the file."""
        slot = self._by_field.get(label_of(problem.field))
        if slot is None:
            return fault_of(rows[0].line, problem)
        if in_line := _IN_LINE.match(problem.field):
            return _fault(slot, rows[int(in_line[1])], problem.expected)
        filled = (row for row in rows if slot.read(row) is not None)
        return _fault(slot, next(filled, rows[0]), problem.expected)


def _key_clean(order_key: str, external_id: Cell | None) -> Sequence[Clean]:
    """Rows whose keys become the same external id are the same order."""
    return external_id.clean if external_id and external_id.column == order_key else ()


def _fault(slot: Slot, row: Row, reason: str) -> Fault:
    return Fault(row.line, slot.title, fit_to_show(slot.raw(row)), reason, slot.field)


def _put(data: dict[str, Any], path: Sequence[str], value: Any) -> None:
    """data["ship_to"]["country"] = value; nothing for None."""
    if value is not None:
        for name in path[:-1]:
            data = data.setdefault(name, {})
        data[path[-1]] = value
