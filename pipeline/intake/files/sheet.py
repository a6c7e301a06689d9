"""A mapping laid on a file's header: the rows of an order in, one judged order out."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import partial
from typing import Any

from pipeline.intake.files.fault import Fault, fault_of, label_of
from pipeline.intake.files.groups import Group, key_of
from pipeline.intake.files.mapping import Cell, Mapping
from pipeline.intake.files.rows import Row
from pipeline.intake.files.sent import Sent, judge
from pipeline.intake.files.slots import Slot, position_of, slots_of
from pipeline.intake.schema import MOST_BYTES, MOST_LINES, Problem, fit_to_show

_IN_LINE = re.compile(r"lines\.(\d+)\.")


class Sheet:
    """Makes orders of rows. InvalidInput if the header lacks a column that the mapping names."""

    def __init__(self, mapping: Mapping, header: Sequence[str]) -> None:
        order = mapping.order
        if order.external_id is None:
            key = Cell(column=mapping.order_key, clean=("strip",))
            order = order.model_copy(update={"external_id": key})
        self._key_title = mapping.order_key
        self.key = position_of(mapping.order_key, header)
        self._rules = [(position_of(rule.column, header), rule) for rule in mapping.reject]
        self._order = slots_of(order, header, mapping.countries)
        line = slots_of(mapping.line, header, mapping.countries, ("lines",))
        self._line = [slot for slot in line if slot.field != "lines.name"]
        self._name = next((slot for slot in line if slot.field == "lines.name"), None)
        self._by_field = {slot.field: slot for slot in (*self._order, *self._line)}

    def sent(self, group: Group) -> Sent:
        """The order that these rows make, judged."""
        faults = self._unreadable(group) or self._refused(group)
        if faults:
            return Sent(group.line, group.count, group.size, group.key or None, faults)
        data, doubts = self._read(group)
        judgement = judge(data, doubts, partial(self._placed, group.rows))
        names = [self._name.read(row) for row in group.rows] if self._name else []
        external_id = data.get("external_id", group.key)
        return Sent(group.line, group.count, group.size, external_id, judgement, data, names)

    def _unreadable(self, group: Group) -> list[Fault]:
        """Rows without which the order would not be whole."""
        if group.is_too_large:
            found = f"{group.count:,} rows, {group.size:,} bytes"
            allowed = f"at most {MOST_LINES:,} rows and {MOST_BYTES:,} bytes"
            return [Fault(group.line, "order", found, allowed, "order")]
        faults = []
        for row in group.rows:
            if row.broken:
                faults.append(Fault(row.line, "row", "", row.broken, "row"))
            elif not key_of(row, self.key):
                faults.append(Fault(row.line, self._key_title, "", "an order key", "order_key"))
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
        for row in rows if slot.column is not None else rows[:1]:
            found = slot.read(row)
            if value is None:
                value = found
            elif found is not None and found != value:
                doubts.append(_fault(slot, row, f"{value}, as in the order's rows above"))
        if slot.is_refused(value):
            doubts.append(_fault(slot, rows[0], "more than 0"))
        return value

    def _line_of(self, row: Row, doubts: list[Fault]) -> dict[str, Any]:
        line = {}
        for slot in self._line:
            value = slot.read(row)
            if value is not None:
                line[slot.path[-1]] = value
            if slot.is_refused(value):
                doubts.append(_fault(slot, row, "more than 0"))
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


def _fault(slot: Slot, row: Row, reason: str) -> Fault:
    return Fault(row.line, slot.title, fit_to_show(slot.raw(row)), reason, slot.field)


def _put(data: dict[str, Any], path: Sequence[str], value: Any) -> None:
    """data["ship_to"]["country"] = value; nothing for None."""
    if value is not None:
        for name in path[:-1]:
            data = data.setdefault(name, {})
        data[path[-1]] = value
