"""The app: adding it to INSTALLED_APPS installs the makemigrations hook and the checks."""

from __future__ import annotations

from typing import Any

from django.apps import AppConfig
from django.db.models.signals import post_migrate


class SafeMigrationsConfig(AppConfig):
    """Configuration of the app; everything it does is done in `ready`."""

    name = "django_safemigrations"
    label = "django_safemigrations"
    verbose_name = "Safe migrations"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Compose the hook onto the installed autodetector; works in any INSTALLED_APPS order."""
        # What these import, every command of every project waits for: no operations, no rewrites.
        from django_safemigrations import checks, hook, plain_migrate, releases, writer
        from django_safemigrations.postgres import fresh

        hook.install()
        writer.install()
        fresh.install()
        post_migrate.connect(_settle, sender=self, dispatch_uid="django_safemigrations.batches")
        plain_migrate.install()
        releases.install()
        assert checks


def _settle(using: str, **kwargs: Any) -> None:
    from django_safemigrations.operations import batching

    batching.settle(using)
