"""The backfill benchmark's figures as Markdown tables and as a plot."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

BEGIN = "<!-- benchmarks.backfill writes from here -->"
END = "<!-- to here -->"

NAMES = {
    "update": "one `UPDATE`",
    "ours": "ours, as it is by default",
    "unthrottled": "ours, without throttle and VACUUM",
    "peer": "django-deferred-migrations",
}


def figures(results: dict[str, Any]) -> str:
    """Return every table as Markdown."""
    parts = [_machine(results), _throughput(results), _profile(results)]
    if "latencies" in results:
        parts.append(_latencies(results))
    if "sizes" in results:
        parts.append(_sizes(results))
    return "\n\n".join(parts)


def write_page(page: Path, results: dict[str, Any]) -> None:
    """Write the figures between the page's markers, and the plot beside it."""
    text = page.read_text()
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise SystemExit(f"{page} has no lines {BEGIN} and {END}")
    plot_file = page.with_suffix(".svg")
    plot_file.write_text(plot(results))
    image = f"![Rows a second beside one UPDATE, and cost a row by rows]({plot_file.name})"
    page.write_text(f"{before}{BEGIN}\n\n{image}\n\n{figures(results)}\n\n{END}{after}")


def median(values: Iterable[float]) -> float:
    """Return the middle value."""
    return statistics.median(values)


def ratios(rounds: list[dict[str, Any]], way: str, other: str) -> list[float]:
    """Return, round by round, how many times as many rows a second one way fills as the other."""
    return sorted(one[other]["seconds"] / one[way]["seconds"] for one in rounds)


def _table(head: list[str], rows: list[list[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _spread(values: list[float]) -> str:
    if len(values) == 1:
        return f"{values[0]:.2f}"
    return f"{median(values):.2f}, from {values[0]:.2f} to {values[-1]:.2f}"


def _loads(results: dict[str, Any]) -> Iterator[float]:
    rounds = [*results["throughput"], *results.get("latencies", [])]
    for found in results.get("sizes", {}).values():
        rounds += found
    for one in rounds:
        yield from (measured["load"] for measured in one.values())


def _machine(results: dict[str, Any]) -> str:
    loads = sorted(_loads(results))
    return (
        f"Measured on {results['when'][:10]} with {results['rows']:,} rows, "
        f"{len(results['throughput'])} rounds, PostgreSQL {results['postgres']}, "
        f"Django {results['django']}, Python {results['python']}, on "
        f"{results['cores']} cores that others used too: the load average "
        f"was {results['load_before']:.1f} before it, and from {loads[0]:.1f} to {loads[-1]:.1f} "
        "during it, its own share included."
    )


def _throughput(results: dict[str, Any]) -> str:
    rounds = results["throughput"]
    rows = []
    for way, name in NAMES.items():
        if way not in rounds[0]:
            continue
        label = f"{name} {results['peer']}" if way == "peer" else name
        seconds = median(one[way]["seconds"] for one in rounds)
        size = median(one[way]["size_mib"] for one in rounds)
        beside = "1" if way == "update" else _spread(ratios(rounds, way, "update"))
        # Others who use the machine take time from a run, but no CPU time is counted to it.
        cpu = sorted(
            one["update"]["cpu"] / one[way]["cpu"]
            for one in rounds
            if one[way].get("cpu") and one["update"].get("cpu")
        )
        of_cpu = "1" if way == "update" else _spread(cpu) if cpu else ""
        rows.append([label, f"{seconds:.1f}", beside, of_cpu, f"{size:.0f} MiB"])
    head = ["Way", "Seconds (median)", "Rows a second beside one `UPDATE`"]
    head += ["Rows a CPU second beside it", "Table afterwards"]
    table = _table(head, rows)
    if "peer" not in rounds[0]:
        return table + "\n\ndjango-deferred-migrations was not installed, so it was not measured."
    default = _spread(ratios(rounds, "ours", "peer"))
    free = _spread(ratios(rounds, "unthrottled", "peer"))
    return (
        f"{table}\n\nRows a second beside django-deferred-migrations: {default} by default, and "
        f"{free} without throttle and VACUUM."
    )


def _profile(results: dict[str, Any]) -> str:
    rounds = results["throughput"]
    rows = []
    parts = {part for one in rounds for way in one.values() for part in way["profile"]}

    def share(way: str, part: str) -> float:
        return median(one[way]["profile"].get(part, 0.0) / one[way]["seconds"] for one in rounds)

    for part in sorted(parts, key=lambda part: -share("ours", part)):
        rows.append([part, *(f"{100 * share(way, part):.1f} %" for way in ("ours", "unthrottled"))])
    batches = median(one["ours"]["batches"] for one in rounds)
    return (
        _table(["Where our seconds go", "by default", "without throttle and VACUUM"], rows)
        + f"\n\nThat is {results['rows'] / batches:,.0f} rows a batch, {batches:,.0f} batches."
    )


def _latencies(results: dict[str, Any]) -> str:
    rounds = results["latencies"]
    names = {"quiet": "nothing", "ours": "our backfill", "update": "one `UPDATE`"}
    rows = []
    for case, name in names.items():
        line = [name]
        for what in ("median", "p99"):
            milliseconds = 1000 * median(one[case][what] for one in rounds)
            times = sorted(one[case][what] / one["quiet"][what] for one in rounds)
            line += [f"{milliseconds:.2f} ms", "1" if case == "quiet" else _spread(times)]
        line.append(f"{1000 * max(one[case]['longest'] for one in rounds):,.0f} ms")
        rows.append(line)
    head = ["Beside the writer runs", "Median", "times", "p99", "times", "Longest"]
    return _table(head, rows) + f"\n\nRounds of the writer: {len(rounds)}."


def _costs(results: dict[str, Any]) -> list[tuple[int, list[dict[str, Any]]]]:
    return sorted((int(rows), found) for rows, found in results["sizes"].items())


def _microseconds(found: list[dict[str, Any]], way: str, rows: int) -> float:
    return median(one[way]["seconds"] for one in found) / rows * 1e6


def _sizes(results: dict[str, Any]) -> str:
    rows = []
    for count, found in _costs(results):
        rows.append(
            [
                f"{count:,}",
                f"{_microseconds(found, 'ours', count):.2f} µs",
                f"{_microseconds(found, 'update', count):.2f} µs",
                _spread(ratios(found, "ours", "update")),
                f"{max(one['ours']['peak_mib'] for one in found):.1f} MiB",
                str(len(found)),
            ]
        )
    head = ["Rows", "Ours, a row", "One `UPDATE`, a row"]
    head += ["Rows a second beside it", "Our client's peak memory", "Rounds"]
    return _table(head, rows)


STYLE = """
text { font: 12px system-ui, sans-serif; fill: #333 }
.title { font-weight: 600 }
.axis { stroke: #999; fill: none }
.ours { stroke: #1a6fb5; fill: #1a6fb5 }
.other { stroke: #b5651a; fill: #b5651a }
.line { fill: none; stroke-width: 2 }
@media (prefers-color-scheme: dark) {
  text { fill: #ddd }
  .axis { stroke: #777 }
  .ours { stroke: #6db3f2; fill: #6db3f2 }
  .other { stroke: #f2b06d; fill: #f2b06d }
}
"""


def plot(results: dict[str, Any]) -> str:
    """Return an SVG: rows a second beside one UPDATE, and cost a row by rows."""
    drawn = [*_bars(results), *(_lines(results) if "sizes" in results else [])]
    return (
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 760 280" width="760" height="280"'
        ' role="img">\n<title>Rows a second beside one UPDATE, and cost a row by rows</title>\n'
        f"<style>{STYLE}</style>\n" + "\n".join(drawn) + "\n</svg>\n"
    )


def _text(x: float, y: float, text: str, more: str = "") -> str:
    return f'<text x="{x:.0f}" y="{y:.0f}"{more}>{text}</text>'


def _bars(results: dict[str, Any]) -> Iterator[str]:
    rounds = results["throughput"]
    yield _text(10, 20, "Rows a second beside one UPDATE (median)", ' class="title"')
    for number, way in enumerate(way for way in NAMES if way in rounds[0]):
        ratio = median(ratios(rounds, way, "update"))
        y = 44 + 56 * number
        yield _text(10, y + 10, NAMES[way].replace("`", ""))
        style = "ours" if way in ("ours", "unthrottled") else "other"
        yield f'<rect class="{style}" x="10" y="{y + 16}" width="{270 * ratio:.0f}" height="16"/>'
        yield _text(18 + 270 * ratio, y + 29, f"{ratio:.2f}")


def _lines(results: dict[str, Any]) -> Iterator[str]:
    found = _costs(results)
    most = max(_microseconds(one, way, rows) for rows, one in found for way in ("ours", "update"))
    left, bottom, width, height = 450.0, 240.0, 290.0, 180.0

    def x_of(rows: float) -> float:
        return left + width * rows / found[-1][0] * 0.94

    def y_of(cost: float) -> float:
        return bottom - height * cost / (most * 1.15)

    yield _text(left - 40, 20, "Microseconds a row, by rows in the table", ' class="title"')
    yield f'<path class="axis" d="M{left} 50V{bottom}H{left + width}"/>'
    yield _text(left - 8, bottom + 4, "0", ' text-anchor="end"')
    yield _text(left - 8, y_of(most) + 4, f"{most:.1f}", ' text-anchor="end"')
    for rows, _ in found:
        label = f"{rows / 1e6:g} million"
        yield _text(x_of(rows), bottom + 18, label, ' text-anchor="middle"')
    for way, style, name in (("ours", "ours", "ours"), ("update", "other", "one UPDATE")):
        points = [(x_of(rows), y_of(_microseconds(one, way, rows))) for rows, one in found]
        for (x1, y1), (x2, y2) in pairwise(points):
            yield f'<path class="{style} line" d="M{x1:.1f} {y1:.1f}L{x2:.1f} {y2:.1f}"/>'
        for x, y in points:
            yield f'<circle class="{style}" cx="{x:.1f}" cy="{y:.1f}" r="3.5"/>'
        shift = -10 if way == "ours" else 20
        yield _text(points[-1][0], points[-1][1] + shift, name, ' text-anchor="end"')
