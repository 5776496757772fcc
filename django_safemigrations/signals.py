"""Signals that tell what safemigrate does; a receiver that fails breaks nothing.

The sender of all of them is the alias of the database. They are sent outside of the
transactions of migrations, in the process that runs them, and a receiver is waited for:
one that talks to a network needs a timeout of its own.
"""

from __future__ import annotations

from django.dispatch import Signal

checklist_judged = Signal()
"""The checklist was asked: ``plan_hash``, ``checklist`` (a list of dicts), ``skipped``."""

run_started = Signal()
"""A run is in the ledger: ``run``, ``kind``, ``phase``, ``operator``, ``plan_hash``, ``waivers``."""

migration_started = Signal()
"""A migration begins: ``app_label``, ``name``, ``direction``."""

migration_finished = Signal()
"""A migration ended: ``app_label``, ``name``, ``direction``, ``outcome``, ``seconds``."""

step_progress = Signal()
"""A backfill goes on: ``backfill``, ``title``, ``rows``, ``total``, ``rate``, ``waiting``, ``ended``."""

run_finished = Signal()
"""A run ended: ``run``, ``kind``, ``phase``, ``status``, ``migrations``, ``error``."""
