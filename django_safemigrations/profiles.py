"""Profiles: what the checklist asks for on a laptop, in continuous integration and in production."""

from __future__ import annotations

import os
from collections.abc import Mapping
from enum import StrEnum
from typing import Any

VARIABLE = "SAFEMIGRATIONS_PROFILE"
"""The environment variable that chooses a profile where the setting does not."""


class Profile(StrEnum):
    """Where the command is typed."""

    DEVELOPMENT = "development"
    CI = "ci"
    PRODUCTION = "production"


PROFILES = tuple(str(profile) for profile in Profile)

# What costs nothing is judged everywhere; a copy and a backup are for what can be lost.
_STATIC = ("reversible", "batched", "concurrent", "no_downtime", "rollback_plan")
_GATHERED = ("rehearsed", "backup")
_DEFAULTS: dict[Profile, dict[str, Any]] = {
    Profile.DEVELOPMENT: {
        "checklist": dict.fromkeys(_STATIC, "warn") | dict.fromkeys(_GATHERED, "off"),
        "plain_migrate": "allow",
    },
    Profile.CI: {
        "checklist": dict.fromkeys(_STATIC, "require") | dict.fromkeys(_GATHERED, "off"),
    },
    Profile.PRODUCTION: {},
}


def profile_asked(raw: Mapping[str, Any]) -> str:
    """Return the profile that SAFE_MIGRATIONS, or else the environment, asks for.

    The setting wins, so that an environment can't weaken what was decided in code.
    """
    asked = raw.get("PROFILE", os.environ.get(VARIABLE, "") or Profile.PRODUCTION)
    return str(asked)


def defaults_of(profile: str) -> dict[str, Any]:
    """Return the settings, by attribute, that a profile gives where SAFE_MIGRATIONS is silent.

    The levels of the checklist are given item by item.
    """
    return _DEFAULTS[Profile(profile)]


def switches_off(profile: str, item: str) -> bool:
    """Whether a profile by itself does not ask for an item of the checklist."""
    levels: Mapping[str, str] = defaults_of(profile).get("checklist", {})
    return levels.get(item) == "off"
