"""Tables and a picture of what was measured."""

from __future__ import annotations

from html import escape
from operator import itemgetter
from pathlib import Path

import ours
from sections import CPU_OF_FIRST, RATE_OF_FIRST, Column

#: What is compared with another checkout.
_COMPARED = (CPU_OF_FIRST, RATE_OF_FIRST)


class Table:
    """A section and its figures: by row and checkout, an entry a round, a text where it failed."""

    def __init__(self, section, found, *, is_judged):
        self.section, self.found = section, found
        self.trees = list(dict.fromkeys(tree for _, tree in found))
        self.firsts = next(iter(found.values()))
        self.wants = is_judged and any(row.targets for row, _ in found)

    def of(self, key, figure):
        """The median of a row's figure."""
        (figures,) = (found for (row, _), found in self.found.items() if row.key == key)
        return _value(Column("", figure, ""), figures, self.firsts)

    def cells(self):
        """Its head, then a line for each row and checkout."""
        head = ["", *(column.title for column in self.section.columns)]
        head += ["wanted", "reached"] if self.wants else []
        for tree in self.trees[1:]:
            head += [f"CPU, to {Path(tree).name}", "pace"]
        return [head, *(self._line(*turn) for turn in self.found)]

    def _line(self, row, tree):
        figures = self.found[row, tree]
        name = f"{row.name}, {Path(tree).name}" if self.trees[1:] else row.name
        line = [name, *(self._shown(column, figures) for column in self.section.columns)]
        if self.wants:
            line += self._judged(row, figures)
        for other in self.trees[1:]:
            theirs = self.found.get((row, other))
            is_ours = theirs is not None and theirs is not figures
            line += [_shown(c, figures, theirs) if is_ours else "" for c in _COMPARED]
        return line

    def _shown(self, column, figures):
        if column.beside and figures is self.firsts:
            return ""
        return _shown(column, figures, self.firsts)

    def _judged(self, row, figures):
        wanted, reached = [], []
        for column, bound in row.targets.items():
            value = _value(column, figures, self.firsts)
            wanted.append(column.wanted(bound))
            reached.append("yes" if value is not None and column.is_reached(value, bound) else "no")
        return ["; ".join(wanted), "; ".join(reached)]

    def failures(self):
        """Why rows have no figures."""
        for (row, _), figures in self.found.items():
            for told in figures:
                if isinstance(told, str):
                    yield f"{row.name}: {told}"
                    break


def _value(column, figures, firsts):
    """The median of the rounds; None: it failed, or there is no such figure."""
    if any(isinstance(told, str) for told in [*figures, *(firsts if column.beside else [])]):
        return None
    return column.value(figures, firsts)


def _shown(column, figures, firsts):
    if any(isinstance(told, str) for told in figures):
        return "failed"
    value = _value(column, figures, firsts)
    return "" if value is None else format(value, column.shape)


def text(cells):
    """For a terminal."""
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    for first, *rest in cells:
        padded = (cell.rjust(width) for cell, width in zip(rest, widths[1:], strict=True))
        yield "  ".join([first.ljust(widths[0]), *padded]).rstrip()


def markdown(cells):
    head, *lines = cells
    rules = ["---", *["---:"] * (len(head) - 1)]
    for line in (head, rules, *lines):
        yield f"| {' | '.join(line)} |"


def bars(table, column):
    """A picture: a bar for each row, ours darker, the shorter the better."""
    values = [(_value(column, f, table.firsts), row) for (row, _), f in table.found.items()]
    values = sorted(((v, row) for v, row in values if v is not None), key=itemgetter(0))
    scale = 440 / values[-1][0]
    yield (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="820" height="{26 * len(values) + 40}" '
        'font-family="sans-serif" font-size="13">'
    )
    yield '<rect width="100%" height="100%" fill="white"/>'
    yield f'<text x="270" y="20">{escape(column.title)}, the shorter the better</text>'
    for n, (value, row) in enumerate(values):
        y, colour = 26 * n + 34, "#147" if hasattr(ours, row.way) else "#9bc"
        yield f'<text x="260" y="{y + 14}" text-anchor="end">{escape(row.name)}</text>'
        yield f'<rect x="270" y="{y}" width="{value * scale:.0f}" height="18" fill="{colour}"/>'
        yield f'<text x="{276 + value * scale:.0f}" y="{y + 14}">{value:{column.shape}}</text>'
    yield "</svg>"
