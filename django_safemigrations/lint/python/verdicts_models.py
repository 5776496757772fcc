"""Verdicts on which models and databases a function works with."""

from __future__ import annotations

from django_safemigrations.lint.finding import Observation
from django_safemigrations.lint.python.events import CHANGES, Kind, Reading
from django_safemigrations.lint.python.hints import lines
from django_safemigrations.lint.python.place import Place, seen


def real_models(reading: Reading, place: Place) -> Observation | None:
    """DSM704: today's models are used."""
    found = reading.of(Kind.REAL)
    if not found:
        return None
    first = found[0]
    if first.model is None:
        return seen(
            "DSM704",
            first,
            place,
            f"{reading.name}() runs {first.detail}, which works with today's models: it fails as "
            "soon as one of them has a column that comes in a later migration, as on every new "
            f"database.{lines(found)}",
            "Do it outside of the migrations, or write here what it does, with apps.get_model.",
        )
    shown = list(dict.fromkeys(e.model.shown for e in found if e.model is not None))
    label = first.model.label or "app_label"
    name = first.model.shown.removesuffix("()")
    if first.model.shown == "get_user_model()":
        instead = "apps.get_model(settings.AUTH_USER_MODEL)"
        variable = "User"
    else:
        instead, variable = f'apps.get_model("{label}", "{name}")', name
    return seen(
        "DSM704",
        first,
        place,
        f"{reading.name}() uses {', '.join(shown[:5])} as the code has it today, not as it was at "
        "this migration: as soon as a later migration adds a column, SELECT and INSERT name a "
        "column that isn't there yet, and every new database (tests, CI, a new server) fails "
        f"here.{lines(found)}",
        f"{variable} = {instead}",
    )


def lacking(reading: Reading, place: Place) -> Observation | None:
    """DSM705: something is used that only today's class has."""
    found = reading.of(Kind.LACKS)
    if not found:
        return None
    first = found[0]
    shown = first.model.shown if first.model is not None else "the model"
    return seen(
        "DSM705",
        first,
        place,
        f"{reading.name}() uses {first.text}: {first.detail}. The historical {shown} that "
        "apps.get_model gives has fields, and nothing else of the class: AttributeError as soon as "
        f"this line runs, and the deploy stops here.{lines(found)}",
        "Write out in the migration what it does; a manager is there if it has "
        "`use_in_migrations = True`.",
    )


def absent(reading: Reading, place: Place) -> Observation | None:
    """DSM706: a model or field is named that isn't there yet, or no more."""
    found = reading.of(Kind.ABSENT)
    if not found:
        return None
    first = found[0]
    details = list(dict.fromkeys(event.detail for event in found))
    return seen(
        "DSM706",
        first,
        place,
        f"{reading.name}(): {first.detail}"
        + (f" Also: {' '.join(details[1:4])}" if len(details) > 1 else ""),
        "Use the names as they are behind the migrations that this one depends on, or add the "
        "dependency that brings them.",
    )


def other_database(reading: Reading, place: Place) -> Observation | None:
    """DSM710: with several databases, the wrong one may be asked."""
    if place.databases < 2 or reading.minds_alias:
        return None
    raw = reading.of(Kind.OTHER_CONNECTION)
    asked = [
        event
        for event in reading.of(Kind.READ, *CHANGES)
        if not event.using and event.model is not None and event.model.historical
    ]
    if not raw and not asked:
        return None
    first = (raw or asked)[0]
    how = (
        "the connection of django.db, which is the default database"
        if raw
        else "without .using(…), on whichever database the routers name"
    )
    return seen(
        "DSM710",
        first,
        place,
        f"{reading.name}() runs {first.text} {how}, though {place.databases} databases are "
        "migrated: `migrate --database other` changes the rows of another database, outside of "
        "its own transaction.",
        "alias = schema_editor.connection.alias, and then Model.objects.using(alias) or "
        "schema_editor.connection.cursor()",
    )
