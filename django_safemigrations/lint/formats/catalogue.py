"""The catalogue for a terminal: one code explained, or all codes listed."""

from __future__ import annotations

import json
from collections.abc import Iterable
from textwrap import indent

from django.core.management.color import Style

from django_safemigrations.hazards import Example, Hazard, Severity
from django_safemigrations.hazards.examples import before_source, migration_source, rules_source
from django_safemigrations.lint.formats.text import colour_of


def explanation(hazard: Hazard, style: Style, severity: Severity | None) -> str:
    """Return the catalogue's entry for a terminal.

    Args:
        hazard: the entry.
        style: the terminal's colours.
        severity: the one in force; None if the code is switched off.
    """
    counts = f"{severity}" if severity else "off"
    if severity is not hazard.severity:
        counts += f" by your settings, {hazard.severity} otherwise"
    head = colour_of(severity or Severity.NOTE, style)(hazard.code)
    growth = f"\nGrows with the table: {hazard.growth}" if hazard.growth else ""
    parts = [
        f"{head} {hazard.name} ({counts})\n{hazard.title}.",
        hazard.why,
        f"Lock: {hazard.lock}\nWho waits: {hazard.who_waits}{growth}",
        f"{style.MIGRATE_HEADING('What to write instead')}\n{hazard.way_out}",
        *_example("Unsafe", hazard.bad, style),
        *_example("Safe", hazard.good, style),
        hazard.url,
    ]
    return "\n\n".join(part for part in parts if part)


def _example(title: str, example: Example, style: Style) -> list[str]:
    if not example.source.strip():
        return []
    before = before_source(example)
    text = f"{rules_source(example)}\n\n" if example.rules else ""
    text += f"{before}\n# and then:\n\n" if before else ""
    shown = indent(text + migration_source(example), "    ").rstrip()
    return [f"{style.MIGRATE_HEADING(title)}\n{shown}"]


def listed(rules: Iterable[tuple[Hazard, Severity | None]], style: Style) -> str:
    """Return one line a code: severity, name and title."""
    found = list(rules)
    longest = max((len(hazard.name) for hazard, _ in found), default=0)
    return "\n".join(
        f"{hazard.code}  {_padded(severity, style)}  {hazard.name:<{longest}}  {hazard.title}"
        for hazard, severity in found
    )


def _padded(severity: Severity | None, style: Style) -> str:
    colour = colour_of(severity, style) if severity else str
    return colour(f"{severity or 'off':<7}")


def listed_as_json(rules: Iterable[tuple[Hazard, Severity | None]]) -> str:
    """Return all codes for machines."""
    return json.dumps(
        [
            {
                "code": hazard.code,
                "name": hazard.name,
                "title": hazard.title,
                "severity": severity or "off",
                "default_severity": hazard.severity,
                "lock": hazard.lock,
                "work": hazard.work,
                "url": hazard.url,
            }
            for hazard, severity in rules
        ],
        indent=2,
    )
