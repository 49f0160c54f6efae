"""
What the speed benchmarks measured: medians, ratios, the page's tables, and its chart.

Figures are kept by load and by server, one number a round; whatever is compared was measured in the
same rounds, so that a ratio is the median of the rounds' own ratios.
"""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Final

__all__ = ["TARGETS", "Spread", "Target", "chart", "judge", "merge", "ratio", "spread", "table"]

#: By load and server, what each round's work cost.
Costs = Mapping[str, Mapping[str, Sequence[float]]]


@dataclass(frozen=True)
class Spread:
    """
    What several rounds gave.

    :param median: their median.
    :param low: the least.
    :param high: the most.
    """

    median: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{digits(self.median)} ({digits(self.low)}-{digits(self.high)})"


@dataclass(frozen=True)
class Target:
    """
    At most how much of another server's CPU time ours may take for the same work.

    :param load: the load's name.
    :param ours: our server's.
    :param reference: the other's.
    :param most: the ratio.
    """

    load: str
    ours: str
    reference: str
    most: float


def _targets() -> Iterable[Target]:
    """All of them, each for the chat as it comes and without its history."""
    for load, reference, most in (
        ("echo-50x64", "C", 1.25),
        ("echo-1000x64", "C", 1.25),
        ("echo-50x65536", "C", 1.15),
        ("echo-50x64", "uvloop", 1.0),
        ("echo-1000x64", "uvloop", 1.0),
        ("tls-50x64", "twistd", 0.65),
        ("lines-10x200", "twistd", 0.70),
        ("lines-10x200", "uvloop", 0.2),
    ):
        yield Target(load, "myproject", reference, most)
    for load, reference, most in (
        ("channel-100-w8", "inspircd", 0.95),
        ("channel-1000-w8", "inspircd", 0.75),
        ("channel-100-w32", "inspircd", 0.95),
        ("channel-1000-w32", "inspircd", 0.75),
        ("channel-100-one", "inspircd", 1.25),
        ("pairs-50-w8", "inspircd", 1.5),
        ("pairs-50-w8", "ergo", 0.4),
        ("cycles", "ergo", 0.5),
    ):
        for ours in ("myproject", "myproject-no-history"):
            yield Target(load, ours, reference, most)


#: What is aimed at.
TARGETS: Final = tuple(_targets())


def digits(value: float) -> str:
    """A number with three significant digits, never in powers of ten."""
    if value == 0:
        return "0"
    size = abs(value)
    places = 0 if size >= 100 else 1 if size >= 10 else 2 if size >= 1 else 3
    return f"{value:.{places}f}"


def spread(values: Sequence[float]) -> Spread:
    """
    The median and the range.

    :raises ValueError: if there are none.
    """
    if not values:
        raise ValueError("no rounds")
    return Spread(statistics.median(values), min(values), max(values))


def ratio(ours: Sequence[float], theirs: Sequence[float]) -> Spread:
    """
    How much more we take than they, round by round.

    :raises ValueError: if there are not as many rounds of each, or none.
    """
    return spread([a / b for a, b in zip(ours, theirs, strict=True)])


def merge(old: Costs, new: Costs) -> dict[str, dict[str, list[float]]]:
    """
    Put two runs together: what was measured again replaces what there was of that load, whole.

    Not server by server: figures of one load are compared, and have to be of one run.
    """
    return {
        load: {name: list(values) for name, values in servers.items()}
        for load, servers in {**old, **new}.items()
    }


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table in Markdown; a bar in a cell is escaped."""
    lines = [head, ["---"] * len(head), *rows]
    return "".join(
        f"| {' | '.join(cell.replace('|', chr(92) + '|') for cell in line)} |\n" for line in lines
    )


def judge(costs: Costs, targets: Iterable[Target] = TARGETS) -> list[tuple[str, ...]]:
    """Rows of load, server, reference, target, ratio, and whether it is met; of what was measured."""
    rows: list[tuple[str, ...]] = []
    for one in targets:
        servers = costs.get(one.load, {})
        ours, theirs = servers.get(one.ours), servers.get(one.reference)
        if ours and theirs and len(ours) == len(theirs):
            found = ratio(ours, theirs)
            met = "yes" if found.median <= one.most else "no"
            rows.append((one.load, one.ours, one.reference, f"{one.most:g}", str(found), met))
    return rows


#: Pixels.
_ROW, _LABEL, _BARS = 16, 170, 420


def chart(costs: Costs, title: str) -> str:
    """
    Bars in SVG: for each load the servers' medians, the longest of the load as wide as there is room.

    :param costs: what is drawn.
    :param title: what the numbers are.
    """
    drawn: list[str] = []
    y = 34
    for load, servers in costs.items():
        medians = {name: statistics.median(values) for name, values in servers.items() if values}
        if not medians:
            continue
        drawn.append(f'<text x="0" y="{y}" font-weight="bold">{escape(load)}</text>')
        y += 6
        most = max(medians.values()) or 1.0
        for name, value in medians.items():
            width = max(1.0, _BARS * value / most)
            colour = "#0a6" if name.startswith("myproject") else "#89a"
            drawn.append(
                f'<text x="{_LABEL - 6}" y="{y + 11}" text-anchor="end">{escape(name)}</text>'
                f'<rect x="{_LABEL}" y="{y + 2}" width="{width:.1f}" height="{_ROW - 5}" fill="{colour}"/>'
                f'<text x="{_LABEL + width + 5:.1f}" y="{y + 11}">{digits(value)}</text>'
            )
            y += _ROW
        y += 22
    width = _LABEL + _BARS + 70
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {y}" width="{width}"'
        f' height="{y}" font-family="sans-serif" font-size="11" role="img">'
        f'<rect width="{width}" height="{y}" fill="#fff"/>'
        f'<text x="0" y="14" font-size="13">{escape(title)}</text>{"".join(drawn)}</svg>\n'
    )
