"""Checks of the settings about releases: RELEASE, SOAK, CONTRACT_OVERDUE and ON_PROGRESS."""

from __future__ import annotations

from django_safemigrations.setting_checks import Problem


def release(key: str, value: object) -> list[Problem]:
    """Refuse what is neither a name nor a callable that returns one."""
    if value is None or callable(value) or (isinstance(value, str) and value.strip()):
        return []
    hint = 'Write RELEASE = os.environ["GIT_SHA"], for example, or a function that returns a name.'
    return [Problem(key, f"{value!r} is not the name of a release.", hint)]


def not_negative(key: str, value: object) -> list[Problem]:
    """Refuse what is not a number, 0 or more."""
    if isinstance(value, bool) or not isinstance(value, int | float) or value < 0:
        hint = f"Give {key} a number, 0 or more."
        return [Problem(key, f"{value!r} is not a number, 0 or more.", hint)]
    return []


def function(key: str, value: object) -> list[Problem]:
    """Refuse what is neither a callable nor a dotted path of one."""
    # What a path leads to is seen when it is needed: importing here would be early.
    if value is None or callable(value) or (isinstance(value, str) and "." in value.strip(".")):
        return []
    hint = 'Write "shop.deploys.tell_the_chat", for example.'
    return [Problem(key, f"{value!r} is neither a function nor its dotted path.", hint)]
