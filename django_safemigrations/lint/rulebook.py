"""Which hazards a project knows, how severe each is there, and which rules are its own."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from django.apps import apps
from django.utils.module_loading import import_string

from django_safemigrations.conf import Problem, Settings, nearest
from django_safemigrations.exceptions import SettingsError
from django_safemigrations.hazards import CATALOGUE, Hazard, Severity, said_nearest
from django_safemigrations.lint.custom import RESERVED, CustomRule

GROUP = "django_safemigrations.lint_rules"
"""The entry point group in which a package offers rules."""
OFF = "off"


@dataclass(frozen=True)
class Rulebook:
    """What the settings make of the catalogue.

    Attributes:
        hazards: all by code, the catalogue's and those of the project's own rules.
        rules: the project's own.
        severities: by code, where it is not the hazard's; None leaves the code out.
        excluded: labels of the apps that are not judged.
    """

    hazards: Mapping[str, Hazard]
    rules: tuple[CustomRule, ...] = ()
    severities: Mapping[str, Severity | None] = field(default_factory=dict)
    excluded: frozenset[str] = frozenset()

    def severity(self, code: str) -> Severity | None:
        """Return how a finding of a code counts; None if it is left out."""
        if code in self.severities:
            return self.severities[code]
        return self.hazards[code].severity


def read_rulebook(settings: Settings) -> Rulebook:
    """Load the project's rules and apply the settings about codes.

    Raises:
        SettingsError: a rule can't be loaded, or a code or app is named that doesn't exist.
    """
    book, problems = _read(settings)
    if problems:
        raise SettingsError(
            "\n".join(f"SAFE_MIGRATIONS {p.key}: {p.message} {p.hint}" for p in problems)
        )
    return book


def problems_of(settings: Settings) -> list[Problem]:
    """Return what the system check reports about the settings of lintmigrations."""
    # Packages' entry points are searched only if something of them may be named.
    if not (
        settings.lint_ignore
        or settings.lint_severities
        or settings.lint_exclude_apps
        or settings.lint_rules
    ):
        return []
    return _read(settings)[1]


def _read(settings: Settings) -> tuple[Rulebook, list[Problem]]:
    rules: list[CustomRule] = []
    problems: list[Problem] = []
    for source, loaded in _sources(settings):
        for rule in _rules_of(source, loaded, problems):
            if rule not in rules:
                rules.append(rule)
    hazards = dict(CATALOGUE)
    for rule in rules:
        for hazard in rule.hazards:
            if hazards.get(hazard.code) is not hazard:
                problems += _wrong(rule, hazard, hazards)
                hazards.setdefault(hazard.code, hazard)
    problems += _unknown_codes("LINT_IGNORE", settings.lint_ignore, hazards)
    problems += _unknown_codes("LINT_SEVERITIES", settings.lint_severities, hazards)
    labels = sorted(config.label for config in apps.get_app_configs())
    problems += [
        Problem("LINT_EXCLUDE_APPS", f"there is no app {label!r}.", nearest(label, labels))
        for label in settings.lint_exclude_apps
        if label not in labels
    ]
    severities: dict[str, Severity | None] = {
        code.upper(): None if severity == OFF else Severity(severity)
        for code, severity in settings.lint_severities.items()
    }
    severities |= {code.upper(): None for code in settings.lint_ignore}
    return (
        Rulebook(hazards, tuple(rules), severities, frozenset(settings.lint_exclude_apps)),
        problems,
    )


def _sources(settings: Settings) -> Iterator[tuple[str, Any]]:
    """Yield where rules come from, and what is there or why nothing is."""
    for path in settings.lint_rules:
        yield f"LINT_RULES[{path!r}]", _imported(path)
    for point in sorted(entry_points(group=GROUP), key=lambda point: point.name):
        yield f"entry point {point.name!r} ({point.value})", _loaded(point)


def _imported(path: str) -> Any:
    try:
        return import_string(path)
    except Exception as error:  # noqa: BLE001 - the module may raise anything
        return error


def _loaded(point: EntryPoint) -> Any:
    try:
        return point.load()
    except Exception as error:  # noqa: BLE001 - the module may raise anything
        return error


def _rules_of(source: str, loaded: Any, problems: list[Problem]) -> Sequence[CustomRule]:
    if isinstance(loaded, Exception):
        what = f"can't be imported: {type(loaded).__name__}: {loaded}."
        problems.append(Problem(source, what, "Name a rule, or a list of rules, by its path."))
        return ()
    given = loaded if isinstance(loaded, list | tuple) else [loaded]
    wrong = [rule for rule in given if not isinstance(rule, CustomRule)]
    if wrong:
        hint = "Decorate the function with lint_rule(...)."
        problems.append(Problem(source, f"{wrong[0]!r} is not a rule.", hint))
    return [rule for rule in given if isinstance(rule, CustomRule)]


def _wrong(rule: CustomRule, hazard: Hazard, known: Mapping[str, Hazard]) -> Iterator[Problem]:
    key = f"LINT_RULES {rule.name}"
    letters = hazard.code.rstrip("0123456789")
    digits = hazard.code[len(letters) :]
    if hazard.code in known:
        yield Problem(key, f"{hazard.code} is taken.", "Codes are unique; choose another one.")
    elif hazard.code.upper().startswith(RESERVED):
        hint = "Codes that begin with DSM are django_safemigrations' own; choose another prefix."
        yield Problem(key, f"it declares {hazard.code}.", hint)
    elif not (letters.isascii() and letters.isalpha() and letters.isupper() and digits):
        hint = 'Write capital letters and then digits, such as "SHOP001".'
        yield Problem(key, f"{hazard.code!r} is not a code.", hint)
    if any(other.name == hazard.name for other in known.values() if other is not hazard):
        yield Problem(key, f"the name {hazard.name!r} is taken.", "Names are unique.")


def _unknown_codes(key: str, codes: Iterable[str], known: Mapping[str, Hazard]) -> list[Problem]:
    return [
        Problem(key, f"there is no hazard {code}.", said_nearest(code, known))
        for code in codes
        if code.upper() not in known
    ]
