"""The formats in which a report is laid out, by the name that --format takes."""

from django_safemigrations.lint.formats.github import as_github
from django_safemigrations.lint.formats.json import as_json
from django_safemigrations.lint.formats.junit import as_junit
from django_safemigrations.lint.formats.sarif import as_sarif
from django_safemigrations.lint.formats.text import as_text, last_line

FORMATS = ("text", "json", "github", "sarif", "junit")

__all__ = ["FORMATS", "as_github", "as_json", "as_junit", "as_sarif", "as_text", "last_line"]
