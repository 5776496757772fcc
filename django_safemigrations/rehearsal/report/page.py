"""The report as one HTML page that loads nothing: no scripts, no fonts, no pictures from elsewhere."""

from __future__ import annotations

import base64
import functools
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from django.template import Context, Engine
from django.utils.safestring import mark_safe

from django_safemigrations.rehearsal.report import figures
from django_safemigrations.rehearsal.report.code_matrix import Matrix, matrix
from django_safemigrations.rehearsal.report.shown import all_visible
from django_safemigrations.rehearsal.report.steps import (
    NOTHING,
    Expected,
    Name,
    Names,
    StepDetails,
    expected,
    step_details,
    step_rows,
)
from django_safemigrations.rehearsal.report.timeline import Picture, picture, ranges
from django_safemigrations.rehearsal.report.verdict import clients, differences, tiles, what_next
from django_safemigrations.rehearsal.results import CopyFacts, Direction, PassTrace, Rehearsal

TEMPLATES = Path(__file__).parent / "templates"
SHORT_HASH = 12
MOST_PROBLEMS = 10
"""How many problems are shown unfolded."""
MARKS = {"met": "✓", "unmet": "✗", "waived": "~", "off": "–"}
STATES = {"met": "ok", "unmet": "bad", "waived": "warn", "off": "off"}
DIRECTIONS = {
    Direction.FORWARDS: "Forwards",
    Direction.BACKWARDS: "Backwards",
    Direction.FORWARDS_AGAIN: "Forwards again",
}
KINDS = {
    "dump": "Dumped and restored",
    "template": "Cloned from a template database",
    "existing": "A copy that was there already",
    "sample": "The schema with a sample of the rows",
}


@dataclass(frozen=True)
class PassView:
    """A pass as the page shows it.

    Attributes:
        id: anchor.
        title: its direction.
        seconds: how long it took, in words.
        error: why it ended early.
        picture: its locks.
        matrix: what running code could do.
        steps: their statements.
        open: whether it is shown unfolded.
        reversed: whether its steps ran from the last to the first.
    """

    id: str
    title: str
    seconds: str
    error: str
    picture: Picture
    matrix: Matrix
    steps: tuple[StepDetails, ...]
    open: bool
    reversed: bool


@dataclass(frozen=True)
class Section:
    """An entry of the table of contents; `state` is "bad" if something there is wrong."""

    id: str
    title: str
    state: str = ""


def render_html(rehearsal: Rehearsal) -> str:
    """Return the report of a rehearsal as one HTML document.

    It works without network and without scripts, and its Content-Security-Policy allows neither.
    Everything that came from the database is escaped, and what is invisible in it is made visible.
    """
    # without the project's number formats: a thousands separator in a width is no width
    context = Context(_context(all_visible(rehearsal)), use_l10n=False, use_tz=False)
    return engine().get_template("report.html").render(context)


@functools.cache
def engine() -> Engine:
    """Return an engine that knows our templates only, whatever the project's settings say."""
    loader = (
        "django.template.loaders.cached.Loader",
        ["django.template.loaders.filesystem.Loader"],
    )
    return Engine(dirs=[str(TEMPLATES)], loaders=[loader], autoescape=True)


@functools.cache
def style() -> tuple[str, str]:
    """Return the style sheet and the hash under which the page's policy allows it."""
    css = (TEMPLATES / "report.css").read_text(encoding="utf-8")
    digest = hashlib.sha256(css.encode()).digest()
    return css, f"sha256-{base64.b64encode(digest).decode()}"


def _context(rehearsal: Rehearsal) -> dict[str, Any]:
    names = Names(rehearsal)
    css, css_hash = style()
    details = step_details(rehearsal, names)
    passes = tuple(
        _pass_view(place, one, details[place - 1], names)
        for place, one in enumerate(rehearsal.passes, 1)
    )
    estimates = expected(rehearsal.estimates, names)
    unlike = differences(rehearsal)
    checklist = [
        {"seen": item, "mark": MARKS.get(item.state, "?"), "kind": STATES.get(item.state, "warn")}
        for item in rehearsal.checklist
    ]
    return {
        "rehearsal": rehearsal,
        "css": mark_safe(css),  # noqa: S308  our own file
        "css_hash": css_hash,
        "short_hash": rehearsal.plan_hash[:SHORT_HASH],
        "started": figures.moment(rehearsal.started_at),
        "finished": figures.moment(rehearsal.finished_at),
        "took": figures.duration((rehearsal.finished_at - rehearsal.started_at).total_seconds()),
        "steps_in_words": figures.counted(len(names), "step"),
        "migrations_in_words": figures.counted(len(rehearsal.migrations), "migration"),
        "problems": rehearsal.problems[:MOST_PROBLEMS],
        "more_problems": rehearsal.problems[MOST_PROBLEMS:],
        "more_in_words": figures.counted(len(rehearsal.problems) - MOST_PROBLEMS, "more problem"),
        "problems_in_words": _speak(len(rehearsal.problems)),
        "ran": _and([DIRECTIONS[one.direction].lower() for one in rehearsal.passes]) or "nowhere",
        "tiles": tiles(rehearsal, estimates),
        "next": what_next(rehearsal),
        "checklist": checklist,
        "migrations": _migrations(rehearsal, names),
        "passes": passes,
        "any_boundaries": any(one.matrix.rows for one in passes),
        "totals": [one.seconds for one in passes],
        "step_rows": step_rows(rehearsal, names),
        "estimates": estimates,
        "clients": clients(rehearsal, DIRECTIONS),
        "unlike": unlike,
        "copy_facts": _copy_facts(rehearsal.copy),
        "explain": "python manage.py lintmigrations --explain",
        "sections": _sections(rehearsal, passes, estimates, differs=any(u.lines for u in unlike)),
    }


def _pass_view(
    place: int, one: PassTrace, details: tuple[StepDetails, ...], names: Names
) -> PassView:
    return PassView(
        id=f"pass-{place}",
        title=DIRECTIONS[one.direction],
        seconds=figures.duration(one.seconds),
        error=one.error,
        picture=picture(one.steps, [names[step.key].number for step in one.steps]),
        matrix=matrix(one, names),
        steps=details,
        open=place == 1,
        reversed=one.direction == Direction.BACKWARDS,
    )


def _migrations(rehearsal: Rehearsal, names: Names) -> list[dict[str, str]]:
    steps: dict[str, list[Name]] = {}
    for name in names:
        steps.setdefault(name.migration, []).append(name)
    return [
        {
            "name": migration,
            "phase": ", ".join(dict.fromkeys(step.phase for step in steps.get(migration, ()))),
            "steps": ranges(step.number for step in steps.get(migration, ())) or NOTHING,
        }
        for migration in rehearsal.migrations
    ]


def _copy_facts(copy: CopyFacts) -> list[tuple[str, str]]:
    facts = [
        ("Made how", KINDS.get(copy.kind, copy.kind)),
        ("Copied from", copy.source),
        ("Copied to", copy.place),
        ("Server", copy.server_version),
        ("Size", figures.size(copy.size_bytes)),
        ("Time to copy", figures.duration(copy.seconds)),
    ]
    if copy.sampled != 1.0:
        facts.append(("Share of the rows", figures.share(copy.sampled)))
    return facts


def _sections(
    rehearsal: Rehearsal, passes: tuple[PassView, ...], estimates: Expected, *, differs: bool
) -> list[Section]:
    unmet = any(item.state == "unmet" for item in rehearsal.checklist)
    failed = any(one.matrix.failed for one in passes)
    ended = any(one.error for one in passes)
    hazards = any(step.hazards for one in passes for step in one.steps)
    slow = any(one.load and one.load.failed for one in rehearsal.passes)
    return [
        Section(anchor, title, "bad" if wrong else "")
        for anchor, title, wrong in (
            ("checklist", "Checklist", unmet),
            ("plan", "Plan", False),
            ("production", "In production", estimates.long),
            ("locks", "Locks over time", ended),
            ("durations", "Durations", False),
            ("code", "Old and new code", failed),
            ("load", "Under load", slow),
            ("statements", "Statements", hazards),
            ("round-trip", "Round trip", differs),
            ("rollback", "Way back", False),
            ("copy", "The copy", False),
        )
    ]


def _speak(problems: int) -> str:
    return f"{figures.counted(problems, 'problem')} {'speaks' if problems == 1 else 'speak'}"


def _and(words: Sequence[str]) -> str:
    return " and ".join([", ".join(words[:-1]), words[-1]] if len(words) > 1 else words)
