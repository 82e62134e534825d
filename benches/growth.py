#!/usr/bin/env python3
"""Plots how the time of a plan grows with the cluster, as a table and a chart.

    cargo bench --bench plan    # measures
    benches/growth.py                                # writes the results to growth.csv and growth.svg
    benches/growth.py --draw                         # redraws growth.svg from growth.csv
"""

import csv
import json
import math
import sys
from pathlib import Path

HERE = Path(__file__).parent
CASES = {
    "snapshot/settled": "all at once",
    "snapshot/affinity": "all at once, affinity of six NotIn",
    "cluster/pod turns ready or unready, and plan": "event by event: a pod turns ready, and plan",
    "cluster/event that says nothing new": "event by event: an event that says nothing new",
}
SIZES = [1_000, 10_000, 100_000, 1_000_000]
WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 800, 400, 70, 330, 20, 45
COLOURS = ["#2563eb", "#b45309", "#15803d", "#a21caf"]


def measured():
    folder = HERE.parent / "target" / "criterion"
    for case in CASES:
        group, name = case.split("/")
        for size in SIZES:
            # Criterion replaces commas in directory names by underscores.
            for spelling in (name, name.replace(",", "_")):
                file = folder / group / spelling / str(size) / "new" / "estimates.json"
                if file.exists():
                    yield case, size, round(json.loads(file.read_text())["median"]["point_estimate"])
                    break
            else:
                sys.exit(f"not measured: {case}/{size}")


def in_words(nanoseconds):
    for unit, factor in (("s", 1e9), ("ms", 1e6), ("µs", 1e3)):
        if nanoseconds >= factor:
            return f"{nanoseconds / factor:.3g} {unit}"
    return f"{nanoseconds:.3g} ns"


def drawing(rows):
    low, high = 1, math.ceil(math.log10(max(time for _, _, time in rows)))

    def x(size):
        return LEFT + (math.log10(size) - 3) / 3 * (WIDTH - LEFT - RIGHT)

    def y(time):
        return HEIGHT - BOTTOM - (math.log10(time) - low) / (high - low) * (HEIGHT - TOP - BOTTOM)

    yield (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
        'aria-label="Time of a plan against the number of nodes, both on logarithmic scales">'
    )
    yield (
        "<style>text{font:12px sans-serif;fill:#334155}.grid{stroke:#cbd5e1}"
        "@media(prefers-color-scheme:dark){text{fill:#cbd5e1}.grid{stroke:#475569}}</style>"
    )
    for power in range(low, high + 1):
        line = y(10**power)
        yield f'<line class="grid" x1="{LEFT}" x2="{WIDTH - RIGHT}" y1="{line:.1f}" y2="{line:.1f}"/>'
        yield f'<text x="{LEFT - 8}" y="{line + 4:.1f}" text-anchor="end">{in_words(10**power)}</text>'
    for size in SIZES:
        yield f'<text x="{x(size):.1f}" y="{HEIGHT - BOTTOM + 18}" text-anchor="middle">{size:,}</text>'
    middle = (LEFT + WIDTH - RIGHT) / 2
    yield f'<text x="{middle}" y="{HEIGHT - 8}" text-anchor="middle">nodes, each with a pod of the DaemonSet</text>'
    ends = []
    for (case, words), colour in zip(CASES.items(), COLOURS):
        points = [(x(size), y(time), time) for other, size, time in rows if other == case]
        line = " ".join(f"{a:.1f},{b:.1f}" for a, b, _ in points)
        yield f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-width="2"/>'
        for a, b, time in points:
            yield f'<circle cx="{a:.1f}" cy="{b:.1f}" r="3.5" fill="{colour}"><title>{in_words(time)}</title></circle>'
        ends.append((points[-1][1], words, colour, points[-1][2]))
    last = -math.inf
    for height, words, colour, time in sorted(ends):
        last = max(height, last + 32)
        yield f'<text x="{WIDTH - RIGHT + 12}" y="{last:.1f}" style="fill:{colour};font-weight:bold">{in_words(time)}</text>'
        yield f'<text x="{WIDTH - RIGHT + 12}" y="{last + 14:.1f}">{words}</text>'
    yield "</svg>"


def main():
    table = HERE / "growth.csv"
    if sys.argv[1:] != ["--draw"]:
        with table.open("w", newline="") as file:
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(["case", "nodes", "nanoseconds"])
            writer.writerows(measured())
    with table.open() as file:
        rows = [(row["case"], int(row["nodes"]), int(row["nanoseconds"])) for row in csv.DictReader(file)]
    (HERE / "growth.svg").write_text("\n".join(drawing(rows)) + "\n")


main()
