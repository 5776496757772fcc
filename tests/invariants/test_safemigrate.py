"""The command's phases lead to the same end as running the files in their order."""

from __future__ import annotations

import io

from django.core.management import call_command
from django.core.management.base import CommandError
from django.test import override_settings

from django_safemigrations.conf import CHECKLIST_ITEMS
from django_safemigrations.exceptions import ViolatingRows
from tests.kit.case import LABEL
from tests.kit.prepared import Prepared, repair
from tests.kit.probe import probe

CHECKLIST = dict.fromkeys(CHECKLIST_ITEMS, "off")


def safemigrate(*arguments: str) -> str:
    out = io.StringIO()
    call_command("safemigrate", *arguments, interactive=False, stdout=out, no_color=True)
    return out.getvalue()


def roll_back(prepared: Prepared) -> None:
    """Roll back the last run, with the operator's help where a removal lost what is needed."""
    try:
        safemigrate("--rollback")
    except CommandError as error:
        if not prepared.case.repair or not isinstance(error.__cause__, ViolatingRows):
            raise
        repair(prepared.case)
        safemigrate("--rollback")


def test_safemigrate_by_phases_ends_where_plain_django_does_and_rolls_back(
    representative: Prepared,
) -> None:
    prepared = representative
    with prepared.database(), prepared.chain.installed():
        setting = {**prepared.case.settings, "CHECKLIST": CHECKLIST}
        with override_settings(SAFE_MIGRATIONS=setting):
            safemigrate(LABEL)
            assert probe(prepared.case, "old", "new") == []
            safemigrate(LABEL, "--phase", "contract")
            assert probe(prepared.case, "new") == []
            lines = prepared.content().differences(prepared.after)
            assert lines == [], prepared.explain(lines)
            for phase in (prepared.contracts, prepared.expands):
                if phase:
                    roll_back(prepared)
            lines = prepared.content().differences(prepared.back)
            assert lines == [], prepared.explain(lines)
            assert probe(prepared.case, "old") == []
