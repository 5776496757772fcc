"""The lint engine: judges migration files by the project's states, without a database."""

from django_safemigrations.lint.finding import Finding
from django_safemigrations.lint.loader import LintLoader
from django_safemigrations.lint.walk import lint_migrations

__all__ = ["Finding", "LintLoader", "lint_migrations"]
