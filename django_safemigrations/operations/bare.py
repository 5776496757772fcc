"""Columns and tables that no model stands for any more, as models that only one operation sees."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable, Mapping
from typing import Any

from django.apps.registry import Apps
from django.db import models
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import NOT_PROVIDED
from django.utils import timezone

from django_safemigrations.operations.values import sql_value


def bare_model(
    app_label: str,
    name: str,
    fields: Iterable[tuple[str, Any]],
    options: Mapping[str, Any],
) -> Any:
    """Return a model of columns without relations, in a registry of its own.

    Args:
        app_label: the app.
        name: the model's name.
        fields: names and fields, none of them a relation.
        options: of its Meta; `db_table` above all.
    """
    meta = type("Meta", (), {"app_label": app_label, "apps": Apps(), **options})
    body: dict[str, Any] = {"__module__": "__fake__", "Meta": meta}
    for field_name, field in fields:
        body[field_name] = _column(field_name, field)
    return type(name, (models.Model,), body)


def _column(name: str, field: Any) -> Any:
    copy = field.clone()
    if copy.db_column == f"{name}_id":
        # It was a foreign key: expressions may say F("customer_id").
        copy.get_attname = lambda: f"{name}_id"
    return copy


def local_time() -> dt.time:
    """Return the time of day, as TimeField has it."""
    return dt.datetime.now().time()  # noqa: DTZ005 - as TimeField.pre_save does


def own_value(field: Any) -> Any:
    """Return what Django puts into a field that an instance doesn't give: a value, or a callable.

    NOT_PROVIDED if there is nothing but NULL.
    """
    if field.remote_field or getattr(field, "generated", False):
        # A default may refer to a row that is gone.
        return NOT_PROVIDED
    if field.has_default():
        return NOT_PROVIDED if field.default is None else field.default
    if field.has_db_default():
        # The column's own default stays.
        return NOT_PROVIDED
    if getattr(field, "auto_now", False) or getattr(field, "auto_now_add", False):
        if isinstance(field, models.DateTimeField):
            return timezone.now
        return dt.date.today if isinstance(field, models.DateField) else local_time
    if field.name == "_order":
        # As Django itself adds order_with_respect_to.
        return 0
    value = field.get_default()
    return NOT_PROVIDED if value is None else value


def own_value_sql(connection: BaseDatabaseWrapper, field: Any) -> str | None:
    """Return the SQL of `own_value`, None if PostgreSQL can't make it.

    Args:
        connection: the database.
        field: a field of a model.
    """
    value = own_value(field)
    return "LOCALTIME" if value is local_time else sql_value(connection, field, value)
