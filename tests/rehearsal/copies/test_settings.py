"""SAFE_MIGRATIONS["REHEARSAL"]: what is wrong with it is said, and no password is repeated."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from django.test import override_settings

from django_safemigrations.conf import get_settings, validate
from django_safemigrations.rehearsal_settings import RehearsalSettings


@pytest.mark.parametrize(
    ("given", "key", "said"),
    [
        ({"SOURCE": "dumped"}, "['SOURCE']", "Did you mean 'dump'?"),
        ({"SOURCE": "template"}, "['SOURCE']", "needs TEMPLATE"),
        ({"SOURCE": "existing"}, "['SOURCE']", "needs COPY"),
        ({"SERVR": "x"}, "['SERVR']", "Did you mean 'SERVER'?"),
        ({"SERVER": "env:"}, "['SERVER']", "no place of a database"),
        ({"SERVER": "postgres://a:s3cret@b/c"}, "['SERVER']", "does not belong into settings"),
        ({"COPY": "host=b password=s3cret"}, "['COPY']", "does not belong into settings"),
        ({"SAMPLE_ROWS": 0}, "['SAMPLE_ROWS']", "not a whole number"),
        ({"SAMPLE_WHOLE": "shop_order"}, "['SAMPLE_WHOLE']", "not a list of tables"),
        ({"ANONYMIZE": "nowhere"}, "['ANONYMIZE']", "not a dotted path"),
        ({"KEEP_COPY": "yes"}, "['KEEP_COPY']", "neither True nor False"),
        ({"DIRECTORY": 3}, "['DIRECTORY']", "not the path of a directory"),
        (["SOURCE"], "", "not a dict"),
    ],
)
def test_a_wrong_value_is_named_with_what_to_write(given: Any, key: str, said: str) -> None:
    (problem,) = validate({"REHEARSAL": given})
    assert problem.key == f"REHEARSAL{key}"
    assert said in f"{problem.message} {problem.hint}"
    assert "s3cret" not in f"{problem.message} {problem.hint}"


def test_values_are_read() -> None:
    given = {
        "SOURCE": "sample",
        "SERVER": "env:COPY_SERVER",
        "SAMPLE_WHOLE": ["shop_currency"],
        "DIRECTORY": Path("/var/tmp"),
    }
    with override_settings(SAFE_MIGRATIONS={"REHEARSAL": given}):
        assert get_settings().rehearsal == RehearsalSettings(
            source="sample",
            server="env:COPY_SERVER",
            sample_whole=("shop_currency",),
            directory="/var/tmp",
        )
