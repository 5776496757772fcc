"""The ledger: what safemigrate ran, what it still owes, and on what evidence; kept where it ran.

Every query names the database that is migrated, for the ledger of one database says
nothing about another.
"""

from __future__ import annotations

from django.db import models
from django.utils import timezone


class Run(models.Model):
    """One run of safemigrate: who, when, what was asked, what was done."""

    class Kind(models.TextChoices):
        FORWARDS = "forwards"
        BACKWARDS = "backwards"
        ROLLBACK = "rollback"

    class Status(models.TextChoices):
        RUNNING = "running"
        SUCCEEDED = "succeeded"
        FAILED = "failed"
        INTERRUPTED = "interrupted"
        REFUSED = "refused"

    kind = models.CharField(max_length=16, choices=Kind)
    phase = models.CharField(max_length=16, blank=True, default="")
    status = models.CharField(max_length=16, choices=Status, default=Status.RUNNING)
    started_at = models.DateTimeField(default=timezone.now)
    finished_at = models.DateTimeField(null=True)
    operator = models.TextField(blank=True, default="")
    """Operating-system user and host that ran the command."""
    plan_hash = models.CharField(max_length=64, blank=True, default="")
    fresh = models.BooleanField(default=False)
    """The database had no applied migration when the run began."""
    checklist = models.JSONField(default=list)
    """The seven verdicts as they were given."""
    waivers = models.JSONField(default=dict)
    """Reasons by checklist item."""
    migrations = models.JSONField(default=list)
    """``{"app_label", "name", "action"}`` in the order in which it was done."""
    error = models.TextField(blank=True, default="")
    rolled_back_at = models.DateTimeField(null=True)

    class Meta:
        ordering = ["-pk"]

    def __str__(self) -> str:
        return f"run {self.pk} ({self.kind} {self.phase}, {self.status})"


class PendingContract(models.Model):
    """A contract that Django's record calls applied although its database part has not run."""

    class Resolution(models.TextChoices):
        RUN = "run"
        REVERSED = "reversed"
        FAKED = "faked"
        BY_HAND = "by hand"
        ELSEWHERE = "elsewhere"

    app_label = models.CharField(max_length=255)
    name = models.CharField(max_length=255)
    needed_by = models.TextField(blank=True, default="")
    """The migration for which it was stepped over, as ``app_label.name``."""
    record = models.BigIntegerField(null=True)
    """Key of Django's record of it; another key means that it was applied anew."""
    footprint = models.JSONField(default=dict)
    """Tables, columns and names it has still to change, for when the file is gone."""
    operations = models.JSONField(default=list)
    """What its operations say of themselves, likewise."""
    created_at = models.DateTimeField(default=timezone.now)
    resolved_at = models.DateTimeField(null=True)
    resolution = models.CharField(max_length=32, choices=Resolution, blank=True, default="")
    reason = models.TextField(blank=True, default="")
    last_error = models.TextField(blank=True, default="")

    class Meta:
        ordering = ["pk"]
        constraints = [
            models.UniqueConstraint(
                fields=["app_label", "name"],
                condition=models.Q(resolved_at__isnull=True),
                name="dsm_one_open_pending_contract",
            )
        ]

    def __str__(self) -> str:
        return f"{self.app_label}.{self.name}"


class BackfillProgress(models.Model):
    """How far a backfill has come; written after each batch, in the batch's transaction."""

    key = models.CharField(max_length=255, unique=True)
    table = models.TextField()
    last_key = models.JSONField(null=True)
    rows_done = models.BigIntegerField(default=0)
    started_at = models.DateTimeField(default=timezone.now)
    updated_at = models.DateTimeField(auto_now=True)
    finished_at = models.DateTimeField(null=True)
    last_error = models.TextField(blank=True, default="")

    class Meta:
        ordering = ["pk"]

    def __str__(self) -> str:
        return self.key


class Evidence(models.Model):
    """Why a checklist item counted as met for one plan: something gathered, or a waiver."""

    class Kind(models.TextChoices):
        RECORDED = "recorded"
        WAIVER = "waiver"

    item = models.CharField(max_length=32)
    kind = models.CharField(max_length=16, choices=Kind, default=Kind.RECORDED)
    plan_hash = models.CharField(max_length=64)
    details = models.JSONField(default=dict)
    reason = models.TextField(blank=True, default="")
    run = models.ForeignKey(Run, models.SET_NULL, null=True, related_name="evidence")
    created_at = models.DateTimeField(default=timezone.now)
    signature = models.CharField(max_length=64, blank=True, default="")
    """HMAC over the other columns under SECRET_KEY: an edited row does not count."""

    class Meta:
        ordering = ["-pk"]
        indexes = [models.Index(fields=["plan_hash", "item"], name="dsm_evidence_by_plan")]

    def __str__(self) -> str:
        return f"{self.item} ({self.kind})"
