"""What is known of the models at the place of a migration."""

from __future__ import annotations

from typing import Protocol

from django_safemigrations.lint.python.values import Model

# Tables that have one row a model, a permission or a site, whatever the size of the business.
SMALL = frozenset(
    {
        ("contenttypes", "contenttype"),
        ("auth", "permission"),
        ("auth", "group"),
        ("sites", "site"),
        ("django_celery_beat", "crontabschedule"),
        ("django_celery_beat", "intervalschedule"),
        ("django_celery_beat", "periodictask"),
    }
)


class Facts(Protocol):
    """Answers about models; None and empty answers mean that it is not known."""

    def is_small(self, model: Model) -> bool:
        """Return whether nobody waits for the rows of a model: few, or its table is new."""
        ...

    def is_absent(self, model: Model) -> str:
        """Return why the registry doesn't have a model; empty if it does."""
        ...

    def is_unique(self, model: Model, names: frozenset[str]) -> bool:
        """Return whether these fields, taken together, select one row at most."""
        ...

    def related(self, model: Model, name: str) -> Model | None:
        """Return the model behind a relation of that name, forwards or backwards."""
        ...

    def is_foreign_key(self, model: Model, name: str) -> bool:
        """Return whether reading that attribute of a row takes a query."""
        ...

    def is_file(self, model: Model, name: str) -> bool:
        """Return whether a field keeps its content in a storage."""
        ...

    def missing_field(self, model: Model, lookup: str) -> str:
        """Return the part of a lookup (``customer__name``) that is no field; empty if all are."""
        ...

    def lacks(self, model: Model, name: str) -> str:
        """Return what today's class has by that name and the historical one hasn't."""
        ...

    def lacks_manager(self, model: Model, name: str) -> str:
        """Return the same of a manager or other attribute of the class."""
        ...

    def lacks_query(self, model: Model, manager: str, name: str) -> str:
        """Return the same of a method of a manager."""
        ...

    def resave_matters(self, model: Model) -> bool:
        """Return whether saving a row unchanged changes something: ``auto_now`` and its kin."""
        ...
