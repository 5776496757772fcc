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
    """A backfill: what it writes, who may work on it, and how far it has come.

    The table is split into ranges (`BackfillRange`); what has been done is known exactly
    from both. The counters here are of passes that are over, those of the ranges are
    added to them: `backfill.progress` does. So no two workers write one row.
    """

    class State(models.TextChoices):
        PENDING = "pending"
        """Known, and no worker has begun."""
        RUNNING = "running"
        PAUSED = "paused"
        """By somebody, for `reason`: workers wait between two batches."""
        CANCELLED = "cancelled"
        """By somebody, for `reason`: workers stop with an error, and contracts are refused."""
        FAILED = "failed"
        """Rows could not be filled, or something undoes it: `reason` says which and what."""
        FINISHED = "finished"
        """Proven complete by a count."""

    key = models.CharField(max_length=255, unique=True)
    """What is filled from what, in words; the same when the command is run again."""
    table = models.TextField()
    """Schema and name, quoted."""
    title = models.TextField(blank=True, default="", db_default="")
    task = models.JSONField(default=dict, db_default=models.Value({}, models.JSONField()))
    """What another process needs to do the work; see `backfill.tasks`."""
    state = models.CharField(
        max_length=16, choices=State, default=State.PENDING, db_default=State.PENDING
    )
    reason = models.TextField(blank=True, default="", db_default="")
    """Why it is paused, cancelled or failed."""
    rows_total = models.BigIntegerField(default=0, db_default=0)
    """Rows of the table when it was split, as the planner estimates them."""
    rows_done = models.BigIntegerField(default=0)
    """Rows changed in passes that are over."""
    batches = models.BigIntegerField(default=0, db_default=0)
    """Batches committed in passes that are over."""
    errors = models.BigIntegerField(default=0, db_default=0)
    """Batches tried again in passes that are over: row locks, deadlocks, timeouts, bad rows."""
    passes = models.IntegerField(default=0, db_default=0)
    """Passes over the table that are over."""
    started_at = models.DateTimeField(default=timezone.now)
    updated_at = models.DateTimeField(auto_now=True)
    finished_at = models.DateTimeField(null=True)
    last_error = models.TextField(blank=True, default="")

    class Meta:
        ordering = ["pk"]

    def __str__(self) -> str:
        return self.key


class BackfillRange(models.Model):
    """A part of a table that one worker fills at a time, batch by batch along the key.

    Keys are lists of texts, as PostgreSQL prints the key's columns. A range is what is above
    `lower` and not above `upper`; where both are the same it is that one row.

    A worker takes a range by a lease: it writes its name and until when, by the server's clock,
    and renews that in each batch's transaction. A range is free when the lease has expired, or
    when the session that took it is gone.
    """

    backfill = models.ForeignKey(BackfillProgress, models.CASCADE, related_name="ranges")
    number = models.IntegerField()
    """Place in the order of work; a row that was put aside has that of its range."""
    relation = models.TextField()
    """The table, or the partition, as it is put into SQL."""
    lower = models.JSONField(null=True)
    """The key after which it begins, null for the table's beginning."""
    upper = models.JSONField(null=True)
    """The key with which it ends, null for the table's end."""
    last_key = models.JSONField(null=True)
    """The key up to which it is done, null at its beginning."""
    rows_done = models.BigIntegerField(default=0)
    """Rows changed."""
    rows_seen = models.BigIntegerField(default=0)
    """Rows come past, changed or not, about."""
    batches = models.BigIntegerField(default=0)
    errors = models.BigIntegerField(default=0)
    batch_size = models.IntegerField(default=0)
    """Rows in its last batch; 0 before that."""
    attempts = models.IntegerField(default=0)
    """How often it was leased."""
    leased_by = models.TextField(blank=True, default="")
    """The worker: host, process and a random part."""
    leased_until = models.DateTimeField(null=True)
    session_pid = models.IntegerField(null=True)
    """The worker's session on the server, and when it began."""
    session_start = models.DateTimeField(null=True)
    not_before = models.DateTimeField(null=True)
    """Put off until then, because a row of it stays locked."""
    failed_at = models.DateTimeField(null=True)
    """The one row of it could not be filled, for `last_error`."""
    finished_at = models.DateTimeField(null=True)
    last_error = models.TextField(blank=True, default="")

    class Meta:
        ordering = ["backfill", "number", "pk"]

    def __str__(self) -> str:
        return f"{self.relation} above {self.lower} to {self.upper}"


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
