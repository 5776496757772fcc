"""A command that ends with the usage code when the project's system checks find an error."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand, SystemCheckError

from django_safemigrations.management.exit_codes import USAGE


class CheckedCommand(BaseCommand):
    """What the system checks find is a usage error."""

    def check(self, *args: Any, **kwargs: Any) -> Any:
        """Run the system checks.

        Raises:
            SystemCheckError: with the exit code of wrong usage.
        """
        try:
            return super().check(*args, **kwargs)
        except SystemCheckError as error:
            error.returncode = USAGE
            raise
