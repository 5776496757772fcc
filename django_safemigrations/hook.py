"""Puts the staged autodetector into makemigrations, and loads it only when something has changed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from django.core.management.base import CommandError
from django.core.management.commands import makemigrations, migrate

from django_safemigrations.exceptions import SafeMigrationsError

if TYPE_CHECKING:
    from django.db.migrations.autodetector import MigrationAutodetector as _Base
else:
    _Base = object


class StagedAutodetectorMixin(_Base):
    """Rewrites unsafe operations into chains of staged ones."""

    def _detect_changes(self, convert_apps: Any = None, graph: Any = None) -> dict[str, Any]:
        # Django takes options off the models that it finds deleted, in this very state.
        before = self.from_state.clone()
        changes: dict[str, Any] = super()._detect_changes(convert_apps, graph)  # type: ignore[misc]
        if not changes:
            return changes
        # Every manage.py command imports this module; few of them find changes.
        from django_safemigrations.autodetector import stage

        try:
            return stage(changes, before, graph)
        except SafeMigrationsError as error:
            raise CommandError(str(error)) from error


def compose(base: type) -> type:
    """Return an autodetector class that rewrites what `base` finds."""
    if issubclass(base, StagedAutodetectorMixin):
        return base
    return type("MigrationAutodetector", (StagedAutodetectorMixin, base), {})


def install() -> None:
    """Compose the hook onto the installed autodetector, for makemigrations and migrate alike.

    Django demands one class for both (check commands.E001). The modules' globals are set
    too, since django-pgtrigger composes its own class onto those, whatever the commands
    hold; so any order in INSTALLED_APPS works.
    """
    composed = compose(makemigrations.Command.autodetector)
    modules: tuple[Any, Any] = (makemigrations, migrate)
    for module in modules:
        module.Command.autodetector = composed
        module.MigrationAutodetector = composed
