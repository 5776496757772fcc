"""The linter's project of migration files, for pages that say what is reported."""

from tests.lint.conftest import project as project
