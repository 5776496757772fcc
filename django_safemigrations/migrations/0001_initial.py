"""The ledger's tables."""

import django.db.models.deletion
import django.utils.timezone
from django.db import migrations, models


class Migration(migrations.Migration):
    initial = True

    dependencies = []

    operations = [
        migrations.CreateModel(
            name="BackfillProgress",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("key", models.CharField(max_length=255, unique=True)),
                ("table", models.TextField()),
                ("last_key", models.JSONField(null=True)),
                ("rows_done", models.BigIntegerField(default=0)),
                ("started_at", models.DateTimeField(default=django.utils.timezone.now)),
                ("updated_at", models.DateTimeField(auto_now=True)),
                ("finished_at", models.DateTimeField(null=True)),
                ("last_error", models.TextField(blank=True, default="")),
            ],
            options={
                "ordering": ["pk"],
            },
        ),
        migrations.CreateModel(
            name="Run",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                (
                    "kind",
                    models.CharField(
                        choices=[
                            ("forwards", "Forwards"),
                            ("backwards", "Backwards"),
                            ("rollback", "Rollback"),
                        ],
                        max_length=16,
                    ),
                ),
                ("phase", models.CharField(blank=True, default="", max_length=16)),
                (
                    "status",
                    models.CharField(
                        choices=[
                            ("running", "Running"),
                            ("succeeded", "Succeeded"),
                            ("failed", "Failed"),
                            ("interrupted", "Interrupted"),
                            ("refused", "Refused"),
                        ],
                        default="running",
                        max_length=16,
                    ),
                ),
                ("started_at", models.DateTimeField(default=django.utils.timezone.now)),
                ("finished_at", models.DateTimeField(null=True)),
                ("operator", models.TextField(blank=True, default="")),
                ("plan_hash", models.CharField(blank=True, default="", max_length=64)),
                ("fresh", models.BooleanField(default=False)),
                ("checklist", models.JSONField(default=list)),
                ("waivers", models.JSONField(default=dict)),
                ("migrations", models.JSONField(default=list)),
                ("error", models.TextField(blank=True, default="")),
                ("rolled_back_at", models.DateTimeField(null=True)),
            ],
            options={
                "ordering": ["-pk"],
            },
        ),
        migrations.CreateModel(
            name="PendingContract",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("app_label", models.CharField(max_length=255)),
                ("name", models.CharField(max_length=255)),
                ("needed_by", models.TextField(blank=True, default="")),
                ("record", models.BigIntegerField(null=True)),
                ("footprint", models.JSONField(default=dict)),
                ("operations", models.JSONField(default=list)),
                ("created_at", models.DateTimeField(default=django.utils.timezone.now)),
                ("resolved_at", models.DateTimeField(null=True)),
                (
                    "resolution",
                    models.CharField(
                        blank=True,
                        choices=[
                            ("run", "Run"),
                            ("reversed", "Reversed"),
                            ("faked", "Faked"),
                            ("by hand", "By Hand"),
                            ("elsewhere", "Elsewhere"),
                        ],
                        default="",
                        max_length=32,
                    ),
                ),
                ("reason", models.TextField(blank=True, default="")),
                ("last_error", models.TextField(blank=True, default="")),
            ],
            options={
                "ordering": ["pk"],
                "constraints": [
                    models.UniqueConstraint(
                        condition=models.Q(("resolved_at__isnull", True)),
                        fields=("app_label", "name"),
                        name="dsm_one_open_pending_contract",
                    )
                ],
            },
        ),
        migrations.CreateModel(
            name="Evidence",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("item", models.CharField(max_length=32)),
                (
                    "kind",
                    models.CharField(
                        choices=[("recorded", "Recorded"), ("waiver", "Waiver")],
                        default="recorded",
                        max_length=16,
                    ),
                ),
                ("plan_hash", models.CharField(max_length=64)),
                ("details", models.JSONField(default=dict)),
                ("reason", models.TextField(blank=True, default="")),
                ("created_at", models.DateTimeField(default=django.utils.timezone.now)),
                ("signature", models.CharField(blank=True, default="", max_length=64)),
                (
                    "run",
                    models.ForeignKey(
                        null=True,
                        on_delete=django.db.models.deletion.SET_NULL,
                        related_name="evidence",
                        to="django_safemigrations.run",
                    ),
                ),
            ],
            options={
                "ordering": ["-pk"],
                "indexes": [
                    models.Index(fields=["plan_hash", "item"], name="dsm_evidence_by_plan")
                ],
            },
        ),
    ]
