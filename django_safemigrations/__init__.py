"""Migrations for Django on PostgreSQL that never stop the application being served."""

__version__ = "0.1.0.dev0"
