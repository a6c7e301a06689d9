"""Which lines a promotion looks at."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pipeline.pricing import rules
from pipeline.pricing.cart import CartLine


@dataclass(frozen=True, slots=True)
class Selector:
    """Lines with one of the SKUs or categories (all lines, if it names neither), but none of the
    excepted SKUs."""

    skus: frozenset[str]
    categories: frozenset[str]
    except_skus: frozenset[str]

    @classmethod
    def of(cls, given: rules.Selector) -> Selector:
        return cls(given.skus, given.categories, given.except_skus)

    def choose(self, lines: Sequence[CartLine]) -> Sequence[int]:
        """The positions of the lines that fit."""
        skus, categories, excepted = self.skus, self.categories, self.except_skus
        if skus or categories:
            return [
                i
                for i, line in enumerate(lines)
                if (line.sku in skus or not categories.isdisjoint(line.categories))
                and line.sku not in excepted
            ]
        if excepted:
            return [i for i, line in enumerate(lines) if line.sku not in excepted]
        return range(len(lines))
