"""Ranges and leases: backfills that many workers share, and that can be stopped."""

import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("django_safemigrations", "0001_initial")]

    operations = [
        migrations.RemoveField("backfillprogress", "last_key"),
        migrations.AddField(
            model_name="backfillprogress",
            name="batches",
            field=models.BigIntegerField(db_default=0, default=0),
        ),
        migrations.AddField(
            model_name="backfillprogress",
            name="errors",
            field=models.BigIntegerField(db_default=0, default=0),
        ),
        migrations.AddField(
            model_name="backfillprogress",
            name="passes",
            field=models.IntegerField(db_default=0, default=0),
        ),
        migrations.AddField(
            model_name="backfillprogress",
            name="reason",
            field=models.TextField(blank=True, db_default="", default=""),
        ),
        migrations.AddField(
            model_name="backfillprogress",
            name="rows_total",
            field=models.BigIntegerField(db_default=0, default=0),
        ),
        migrations.AddField(
            model_name="backfillprogress",
            name="state",
            field=models.CharField(
                choices=[
                    ("pending", "Pending"),
                    ("running", "Running"),
                    ("paused", "Paused"),
                    ("cancelled", "Cancelled"),
                    ("failed", "Failed"),
                    ("finished", "Finished"),
                ],
                db_default="pending",
                default="pending",
                max_length=16,
            ),
        ),
        migrations.AddField(
            model_name="backfillprogress",
            name="task",
            field=models.JSONField(db_default=models.Value({}, models.JSONField()), default=dict),
        ),
        migrations.AddField(
            model_name="backfillprogress",
            name="title",
            field=models.TextField(blank=True, db_default="", default=""),
        ),
        migrations.CreateModel(
            name="BackfillRange",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("number", models.IntegerField()),
                ("relation", models.TextField()),
                ("lower", models.JSONField(null=True)),
                ("upper", models.JSONField(null=True)),
                ("last_key", models.JSONField(null=True)),
                ("rows_done", models.BigIntegerField(default=0)),
                ("rows_seen", models.BigIntegerField(default=0)),
                ("batches", models.BigIntegerField(default=0)),
                ("errors", models.BigIntegerField(default=0)),
                ("batch_size", models.IntegerField(default=0)),
                ("attempts", models.IntegerField(default=0)),
                ("leased_by", models.TextField(blank=True, default="")),
                ("leased_until", models.DateTimeField(null=True)),
                ("session_pid", models.IntegerField(null=True)),
                ("session_start", models.DateTimeField(null=True)),
                ("not_before", models.DateTimeField(null=True)),
                ("failed_at", models.DateTimeField(null=True)),
                ("finished_at", models.DateTimeField(null=True)),
                ("last_error", models.TextField(blank=True, default="")),
                (
                    "backfill",
                    models.ForeignKey(
                        on_delete=django.db.models.deletion.CASCADE,
                        related_name="ranges",
                        to="django_safemigrations.backfillprogress",
                    ),
                ),
            ],
            options={
                "ordering": ["backfill", "number", "pk"],
            },
        ),
    ]
