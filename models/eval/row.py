"""Rows of the table: what was measured, beside what is to be reached."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable
from dataclasses import dataclass

at_least, at_most = operator.ge, operator.le


def under(value: float, goal: float) -> bool:
    """Whether it stays under a goal; 0 is as far under as a share can be."""
    return value < goal or value == 0


@dataclass(frozen=True)
class Number:
    """One measured number with its goals, reached where `reaches(value, goal)`; without goals it only informs."""

    what: str
    value: float
    least: float | None = None
    aim: float | None = None
    form: str = "{:.2f}"
    reaches: Callable[[float, float], bool] = at_least

    def verdict(self) -> str:
        said = [
            f"{name} {self.form.format(goal)} {'met' if self.reaches(self.value, goal) else 'missed'}"
            for name, goal in (("goal", self.least), ("aim", self.aim))
            if goal is not None
        ]
        return ", ".join(said)


@dataclass(frozen=True)
class Row:
    """`measure()` yields its numbers as they are known."""

    key: str
    measure: Callable[[], Iterable[Number]]


def share(what: str, right: float, least: float | None = None, aim: float | None = None) -> Number:
    """A share of 1 as percent, goals too."""
    goals = [None if goal is None else 100 * goal for goal in (least, aim)]
    return Number(what, 100 * right, *goals, form="{:.1f} %")


def print_rows(rows: list[Row]) -> None:
    for row in rows:
        for number in row.measure():
            print(f"{row.key:14} {number.what:52} {number.form.format(number.value):>12}   {number.verdict()}".rstrip(), flush=True)
