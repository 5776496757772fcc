"""Text for a terminal: grouped by file, with the line in question, wrapped at its width."""

from __future__ import annotations

import linecache
from collections.abc import Callable, Iterator
from itertools import groupby
from textwrap import fill, indent

from django.core.management.color import Style

from django_safemigrations.hazards import Severity
from django_safemigrations.lint.finding import Finding, HiddenBy
from django_safemigrations.lint.report import Report, place, plural

QUOTED = 100
"""Characters of the source that are shown where no terminal says how wide it is."""
HIDDEN = {HiddenBy.COMMENT: "hidden by comments", HiddenBy.BASELINE: "accepted by the baseline"}


def as_text(report: Report, style: Style, width: int | None = None) -> str:
    """Return the report for people.

    Args:
        report: what was found.
        style: the terminal's colours.
        width: where to wrap prose; None does not. Code is never wrapped: it is there to be pasted.
    """
    parts = []
    for _, found in groupby(report.own, key=lambda finding: finding.path):
        by_line = sorted(found, key=_line)
        first = by_line[0]
        linecache.checkcache(first.path)
        heading = style.MIGRATE_HEADING(".".join(filter(None, (first.app_label, first.migration))))
        paragraphs = [_paragraph(finding, style, width) for finding in by_line]
        parts.append("\n".join([heading, "\n\n".join(paragraphs)]))
    if report.others:
        heading = "Installed packages (listed, never failing; name the app to have them count):"
        lines = [_one_line(finding, style) for finding in report.others]
        parts.append("\n".join([style.MIGRATE_HEADING(heading), *lines]))
    if report.stale:
        heading = "In the baseline and found no more (--write-baseline leaves them out):"
        lines = [f"  {entry.describe()}" for entry in report.stale]
        parts.append("\n".join([style.MIGRATE_HEADING(heading), *lines]))
    parts.append("\n".join([*report.notices, last_line(report, style)]))
    return "\n\n".join(parts)


def last_line(report: Report, style: Style) -> str:
    """Return the totals in one line."""
    files = plural(len(report.read), "migration")
    hidden = [f"{number} {how}" for by, how in HIDDEN.items() if (number := report.hidden_by(by))]
    more = f" ({', '.join(hidden)})" if hidden else ""
    if not report.own:
        return style.SUCCESS(f"{files} read, nothing found{more}.")
    counted = [
        plural(report.number(Severity.ERROR), "error"),
        plural(report.number(Severity.WARNING), "warning"),
    ]
    if notes := report.number(Severity.NOTE):
        counted.append(plural(notes, "note"))
    colour = style.ERROR if report.failed else style.WARNING
    total = colour(f"{files} read: {', '.join(counted)}{more}.")
    return f"{total} lintmigrations --explain CODE tells more."


def _paragraph(finding: Finding, style: Style, width: int | None) -> str:
    lines = [
        f"{style.MIGRATE_LABEL(_place(finding))} {_severity(finding, style)} "
        f"{finding.code} {finding.name}",
        *_source(finding, style, width),
        _wrapped(finding.message, width),
    ]
    first, *code = finding.hint.split("\n")
    lines.append(_wrapped(first, width))
    lines += [indent(line, "        ") for line in code]
    return "\n".join(line for line in lines if line.strip())


def _source(finding: Finding, style: Style, width: int | None) -> Iterator[str]:
    text = _quoted(finding)
    if text:
        shown = f"    {finding.line} | {text}"
        limit = width or QUOTED
        yield style.HTTP_INFO(shown if len(shown) <= limit else f"{shown[: limit - 1]}…")


def _quoted(finding: Finding) -> str:
    """Return the line in question; of an operation over several lines, also what comes next."""
    if not finding.line:
        return ""
    text = linecache.getline(finding.path, finding.line).strip()
    number = finding.line
    while _is_open(text) and len(text) < QUOTED:
        number += 1
        more = linecache.getline(finding.path, number).strip()
        if not more:
            break
        text += f" {more}" if text.endswith(",") else more
    return text


def _is_open(text: str) -> bool:
    return sum(text.count(opening) for opening in "([{") > sum(map(text.count, ")]}"))


def _wrapped(text: str, width: int | None) -> str:
    if width is None:
        return indent(text, "    ")
    return fill(
        text,
        width,
        initial_indent="    ",
        subsequent_indent="    ",
        break_long_words=False,
        break_on_hyphens=False,
    )


def _one_line(finding: Finding, style: Style) -> str:
    return f"{_place(finding)} {_severity(finding, style)} {finding.code} {finding.message}"


def _line(finding: Finding) -> int:
    return finding.line


def _place(finding: Finding) -> str:
    return f"{place(finding)}:"


def _severity(finding: Finding, style: Style) -> str:
    return colour_of(finding.severity, style)(str(finding.severity))


def colour_of(severity: Severity, style: Style) -> Callable[[str], str]:
    """Return what colours a text by a severity."""
    colours: dict[Severity, Callable[[str], str]] = {
        Severity.ERROR: style.ERROR,
        Severity.WARNING: style.WARNING,
        Severity.NOTE: style.NOTICE,
    }
    return colours[severity]
