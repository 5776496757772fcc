"""Fixtures that the kit's tests and the invariants share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from django.test import modify_settings
from pytest_django import DjangoDbBlocker

from tests.kit.case import APP


@pytest.fixture(scope="package", autouse=True)
def case_app(database_access: None) -> Iterator[None]:
    """Put the cases' app, and the one that registers OpClass, into INSTALLED_APPS.

    django.contrib.postgres asks the database for its types when it gets ready.
    """
    with modify_settings(INSTALLED_APPS={"append": [APP, "django.contrib.postgres"]}):
        yield


@pytest.fixture(scope="package", autouse=True)
def database_access(django_db_blocker: DjangoDbBlocker) -> Iterator[None]:
    """Allow these tests the real server: they make databases of their own on it."""
    with django_db_blocker.unblock():
        yield
