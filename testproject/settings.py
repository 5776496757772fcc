"""Settings of the shop that tests and the demo run on: a real PostgreSQL, and nothing unusual."""

from testproject.database import django_database

SECRET_KEY = "only-for-tests-and-the-demo"
DEBUG = False
USE_TZ = True
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

DATABASES = {"default": django_database()}

INSTALLED_APPS = [
    "django.contrib.contenttypes",
    "django.contrib.auth",
    "django_safemigrations",
    "testproject.customers",
    "testproject.catalogue",
    "testproject.shop",
]
