"""The app: adding it to INSTALLED_APPS installs the makemigrations hook and the checks."""

from __future__ import annotations

from django.apps import AppConfig


class SafeMigrationsConfig(AppConfig):
    """Configuration of the app; everything it does is done in `ready`."""

    name = "django_safemigrations"
    label = "django_safemigrations"
    verbose_name = "Safe migrations"
    default_auto_field = "django.db.models.BigAutoField"

    def ready(self) -> None:
        """Compose the hook onto the installed autodetector; works in any INSTALLED_APPS order."""
        from django_safemigrations import autodetector, checks, plain_migrate, writer
        from django_safemigrations.postgres import fresh

        autodetector.install()
        writer.install()
        fresh.install()
        plain_migrate.install()
        assert checks
