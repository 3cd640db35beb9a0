"""Rows of the table: what was measured, beside what is to be reached."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class Number:
    """One measured number with its goals; without goals it only informs. `under`: it is to stay under them, and may be 0 where that is one."""

    what: str
    value: float
    least: float | None = None
    aim: float | None = None
    form: str = "{:.2f}"
    less_is_better: bool = False
    under: bool = False

    def reaches(self, goal: float) -> bool:
        if self.under:
            return self.value < goal or self.value == 0
        return self.value <= goal if self.less_is_better else self.value >= goal

    def verdict(self) -> str:
        said = [
            f"{name} {self.form.format(goal)} {'met' if self.reaches(goal) else 'missed'}"
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
