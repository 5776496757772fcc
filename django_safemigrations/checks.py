"""System checks: the setting is usable, and makemigrations really goes through the hook."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, Tags, Warning, register
from django.core.management import get_commands, load_command_class

from django_safemigrations.conf import get_settings, validate
from django_safemigrations.exceptions import SettingsError
from django_safemigrations.hook import StagedAutodetectorMixin

OURS = ("safemigrate", "lintmigrations", "runbackfill")


@register(Tags.compatibility)
def check_settings(app_configs: Sequence[Any] | None, **kwargs: Any) -> list[CheckMessage]:
    """E001: SAFE_MIGRATIONS holds an unknown key or an unusable value."""
    return [
        Error(
            f"SAFE_MIGRATIONS {problem.key}: {problem.message}",
            hint=problem.hint,
            id="django_safemigrations.E001",
        )
        for problem in validate(getattr(settings, "SAFE_MIGRATIONS", {}))
    ]


@register(Tags.compatibility)
def check_lint_settings(app_configs: Sequence[Any] | None, **kwargs: Any) -> list[CheckMessage]:
    """E002: a setting of lintmigrations names a code, an app or a rule that doesn't exist."""
    # The linter is large, and most commands run without it.
    from django_safemigrations.lint.rulebook import problems_of

    try:
        problems = problems_of(get_settings())
    except SettingsError:
        # E001 tells.
        return []
    return [
        Error(
            f"SAFE_MIGRATIONS {problem.key}: {problem.message}",
            hint=problem.hint,
            id="django_safemigrations.E002",
        )
        for problem in problems
    ]


@register(Tags.compatibility)
def check_commands(app_configs: Sequence[Any] | None, **kwargs: Any) -> list[CheckMessage]:
    """W001: another app's makemigrations bypasses the hook; W002: it shadows one of our commands."""
    found: list[CheckMessage] = []
    commands = get_commands()
    owner = commands["makemigrations"]
    command = owner if not isinstance(owner, str) else load_command_class(owner, "makemigrations")
    autodetector = getattr(command, "autodetector", None)
    if not (isinstance(autodetector, type) and issubclass(autodetector, StagedAutodetectorMixin)):
        found.append(
            Warning(
                f"makemigrations comes from {owner}, which sets an autodetector of its own: "
                "unsafe operations are written as they are.",
                hint=f"Remove {owner} from INSTALLED_APPS, or run lintmigrations on its output.",
                id="django_safemigrations.W001",
            )
        )
    for name in OURS:
        owner = commands.get(name, "django_safemigrations")
        if owner != "django_safemigrations":
            found.append(
                Warning(
                    f"`{name}` runs the command of {owner}, not that of django_safemigrations.",
                    hint="Move 'django_safemigrations' above it in INSTALLED_APPS.",
                    id="django_safemigrations.W002",
                )
            )
    return found
