"""How the SQL of a RunSQL is read: strings and lists, states, functions, and what can't be read."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from textwrap import dedent
from typing import Any

import pytest

from django_safemigrations.lint import Finding
from django_safemigrations.lint.sql import parser
from django_safemigrations.lint.sql.script import filled_in, sent_strings
from tests.lint.conftest import Project

ROOT = Path(__file__).parents[2]


def run_sql(project: Project, *sql: Any, atomic: bool = True) -> list[Finding]:
    """Add a migration with one RunSQL for each argument and return what is found in it."""
    listed = ",\n".join(f"migrations.RunSQL({one!r}, migrations.RunSQL.noop)" for one in sql)
    return project.operations(listed, atomic=atomic)


def codes(found: list[Finding]) -> list[str]:
    return [finding.code for finding in found]


@pytest.mark.parametrize(
    ("text", "parameters", "expected"),
    [
        ("a = %s", [5], "a = 5"),
        (
            "a = %s AND b LIKE 'x%%' AND c = %s",
            ["o'k", None],
            "a = 'o''k' AND b LIKE 'x%' AND c = NULL",
        ),
        ("a = %(one)s OR b = %(one)s", {"one": 7}, "a = 7 OR b = 7"),
        ("100%%", [], "100%"),
        ("%%%%s", [], "%%s"),
    ],
)
def test_parameters_stand_where_psycopg_puts_them(
    text: str, parameters: Any, expected: str
) -> None:
    assert filled_in(text, parameters) == expected


@pytest.mark.parametrize(
    ("text", "parameters"),
    [
        ("%s", []),
        ("%s", [1, 2]),
        ("5 % 2", []),
        ("%(a)s", {}),
        ("%s", {"a": 1}),
        ("%d", [1]),
        ("%", []),
    ],
)
def test_placeholders_that_do_not_fit_are_told(text: str, parameters: Any) -> None:
    (sent,) = sent_strings([(text, parameters)])
    assert "placeholder" in (sent.problem or "")


def test_without_parameters_a_percent_sign_is_just_that(project: Project) -> None:
    assert run_sql(project, "SELECT 5 % 2", [("SELECT 'a%'", None)]) == []


def test_a_string_is_one_message_and_a_list_is_several() -> None:
    assert [len(s.statements) for s in sent_strings("SELECT 1; SELECT 2")] == [2]
    assert [len(s.statements) for s in sent_strings(["SELECT 1", "SELECT 2; SELECT 3", ""])] == [
        1,
        2,
    ]
    assert sent_strings("") == sent_strings([]) == []


def test_statements_are_found_behind_comments_with_their_lines() -> None:
    found = parser.parse("-- first; not one\n/* nor /* this; */ */\nSELECT ';' ;\n\nSELECT 2; ")
    assert [(s.text, s.line) for s in found] == [("SELECT ';'", 3), ("SELECT 2", 5)]


def test_a_syntax_error_is_one_finding_with_its_place_and_the_rest_is_judged(
    project: Project,
) -> None:
    found = run_sql(
        project,
        [
            "SELECT 'ä';\nALTER TABLE store_order\n  ADD COLUM note text;\nDROP TABLE store_tag",
            "TRUNCATE store_order",
        ],
    )
    assert codes(found) == ["DSM601", "DSM504", "DSM604"]
    assert found[0].message.startswith("Statement 2 (line 3): syntax error at or near")
    assert found[1].message.startswith("Statement 3 (line 4): DROP TABLE store_tag")
    assert found[2].message.startswith("Statement 4 (line 1): TRUNCATE store_order")


def test_what_stands_before_a_quote_without_end_is_judged(project: Project) -> None:
    assert codes(run_sql(project, "DROP TABLE store_tag; SELECT 'x")) == ["DSM504", "DSM601"]


def test_a_pair_that_is_none_is_told(project: Project) -> None:
    (found,) = run_sql(project, [("SELECT 1", [], 3)])
    assert found.code == "DSM601"
    assert "finds 3 values" in found.message


def test_without_the_parser_the_finding_says_what_to_install(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(parser, "PACKAGE", "a_package_that_is_not_there")
    (found,) = run_sql(project, "DROP TABLE store_tag")
    assert found.code == "DSM405"
    assert "not inspected: DROP TABLE store_tag" in found.message
    assert 'pip install "django-safemigrations[sql]"' in found.hint


def test_the_parser_is_imported_only_for_sql(tmp_path: Path) -> None:
    code = """
        import sys
        import django
        from django.conf import settings
        settings.configure(INSTALLED_APPS=["django.contrib.contenttypes", "django.contrib.auth"],
            DATABASES={"default": {"ENGINE": "django.db.backends.postgresql", "NAME": "none"}})
        django.setup()
        from django_safemigrations.lint import LintLoader, lint_migrations
        lint_migrations(LintLoader(None, ignore_no_migrations=True))
        assert "postgast" not in sys.modules and "google.protobuf" not in sys.modules
    """
    subprocess.run([sys.executable, "-c", dedent(code)], check=True, cwd=ROOT)


def test_tables_that_the_migration_made_are_not_in_use(project: Project) -> None:
    found = project.operations(
        """
        migrations.CreateModel("Box", [("id", models.BigAutoField(primary_key=True)),
                                       ("tags", models.ManyToManyField("store.Tag"))]),
        migrations.RunSQL("CREATE INDEX box_idx ON store_box (id); UPDATE store_box SET id = 1; "
                          "ALTER TABLE store_box_tags ADD UNIQUE (tag_id)", ""),
        migrations.AddField("order", "friends", models.ManyToManyField("store.Customer")),
        migrations.RunSQL("CREATE INDEX f_idx ON store_order_friends (order_id)", ""),
        migrations.RunSQL("CREATE TABLE box_log (a int)", ""),
        migrations.RunSQL("CREATE INDEX log_idx ON box_log (a); DROP TABLE box_log", ""),
        """
    )
    assert codes(found) == []


def test_a_table_made_by_an_earlier_migration_is_in_use(project: Project) -> None:
    assert run_sql(project, "CREATE TABLE box_log (a int)") == []
    assert codes(run_sql(project, "CREATE INDEX log_idx ON box_log (a)")) == ["DSM101"]


def test_tables_of_unmanaged_models_are_judged(project: Project) -> None:
    found = project.operations(
        """
        migrations.CreateModel("Legacy", [("id", models.BigAutoField(primary_key=True)),
                                          ("name", models.CharField(max_length=5))],
                               options={"managed": False, "db_table": "legacy"}),
        migrations.RunSQL("ALTER TABLE legacy DROP COLUMN name", ""),
        migrations.RunSQL("ALTER TABLE legacy ALTER COLUMN name TYPE varchar(9)", ""),
        """
    )
    assert codes(found) == ["DSM503"]


def test_a_state_operation_of_the_same_runsql_does_not_come_first(project: Project) -> None:
    found = project.operations(
        """
        migrations.RunSQL(
            "ALTER TABLE store_order DROP COLUMN total", "",
            state_operations=[migrations.RemoveField("order", "total")],
        ),
        """
    )
    assert codes(found) == ["DSM503"]


def test_what_an_earlier_release_took_out_of_the_models_may_be_dropped(project: Project) -> None:
    project.operations(
        """
        migrations.SeparateDatabaseAndState(state_operations=[
            migrations.RemoveField("order", "total"), migrations.DeleteModel("Tag"),
        ]),
        """
    )
    assert run_sql(project, "ALTER TABLE store_order DROP COLUMN total; DROP TABLE store_tag") == []


def test_in_a_contract_no_old_code_is_left(project: Project) -> None:
    drops = (
        "ALTER TABLE store_order DROP COLUMN total; DROP TABLE store_tag; "
        "ALTER TABLE store_order ALTER COLUMN discount DROP DEFAULT"
    )
    found = project.operations(
        f"Contract(database_operations=[migrations.RunSQL({drops!r}, '')])",
        setup="from django_safemigrations.operations import Contract",
    )
    assert codes(found) == []


def test_a_contract_still_locks(project: Project) -> None:
    found = project.operations(
        "Contract(database_operations=[migrations.RunSQL('DROP INDEX order_reference_idx', '')])",
        setup="from django_safemigrations.operations import Contract",
    )
    assert codes(found) == ["DSM102"]


def test_a_constraint_of_a_model_is_followed_between_sql_and_django(project: Project) -> None:
    add = "ALTER TABLE store_order ADD CONSTRAINT total_ck CHECK (total > 0) NOT VALID"
    validate = "ALTER TABLE store_order VALIDATE CONSTRAINT total_ck"
    contrib = (
        "from django.contrib.postgres.operations import AddConstraintNotValid, ValidateConstraint"
    )
    declared = "models.CheckConstraint(condition=models.Q(total__gt=0), name='total_ck')"
    assert codes(
        project.operations(
            f"migrations.RunSQL({add!r}, '', state_operations=["
            f"migrations.AddConstraint('order', {declared})]), "
            "ValidateConstraint('order', 'total_ck')",
            setup=contrib,
        )
    ) == ["DSM507"]
    assert codes(
        project.operations(
            "migrations.RemoveConstraint('order', 'total_ck'), "
            f"AddConstraintNotValid('order', {declared}), "
            f"migrations.RunSQL({validate!r}, '')",
            setup=contrib,
        )
    ) == ["DSM507"]


def test_a_proof_that_sql_gave_counts_in_later_migrations(project: Project) -> None:
    name = "ALTER TABLE store_customer"
    assert run_sql(project, f"{name} ADD CONSTRAINT nn CHECK (email IS NOT NULL) NOT VALID") == []
    assert codes(run_sql(project, f"{name} ALTER COLUMN email SET NOT NULL")) == ["DSM201"]
    assert run_sql(project, f"{name} VALIDATE CONSTRAINT nn") == []
    assert run_sql(project, f"{name} ALTER COLUMN email SET NOT NULL") == []


def test_a_default_that_sql_sets_serves_old_code(project: Project) -> None:
    add = "migrations.AddField('order', 'open', models.BooleanField(default=True)), "
    keep = "ALTER TABLE store_order ALTER COLUMN open SET DEFAULT true"
    drop = "ALTER TABLE store_order ALTER COLUMN open DROP DEFAULT"
    assert codes(project.operations(f"{add} migrations.RunSQL({keep!r}, '')")) == []
    project.operations("migrations.RemoveField('order', 'open')")
    assert codes(project.operations(f"{add} migrations.RunSQL({[keep, drop]!r}, '')")) == ["DSM501"]
    project.operations("migrations.RemoveField('order', 'open')")
    assert "DSM501" in codes(
        project.operations(f"{add} migrations.RunSQL({keep!r}, '')", atomic=False)
    )


def test_a_function_is_judged_where_it_is_called(project: Project) -> None:
    body = "BEGIN DELETE FROM store_order WHERE total = $1; PERFORM secret(); END"
    create = f"CREATE FUNCTION purge(int) RETURNS void LANGUAGE plpgsql AS $f$ {body} $f$"
    assert run_sql(project, create) == []
    found = run_sql(project, "SELECT purge(5)")
    assert codes(found) == ["DSM402", "DSM405"]
    assert "secret()" in found[1].message


def test_a_block_that_commits_its_batches_is_fine_outside_of_a_transaction(
    project: Project,
) -> None:
    block = (
        "DO $$ BEGIN LOOP UPDATE store_order SET total = 0 WHERE total < 0; "
        "EXIT WHEN NOT FOUND; COMMIT; END LOOP; END $$"
    )
    assert run_sql(project, block, atomic=False) == []
    assert codes(run_sql(project, block)) == ["DSM402"]


@pytest.mark.parametrize(
    ("sql", "told"),
    [
        ("DO $$ BEGIN EXECUTE format('DROP TABLE %I', 'a'); END $$", "builds SQL when it runs"),
        ("DO LANGUAGE plpython3u $$ pass $$", "in plpython3u"),
        ("SELECT secret()", "secret()"),
        ("CALL archive.secret()", "archive.secret()"),
        ("EXECUTE prepared", "EXECUTE prepared"),
    ],
)
def test_what_can_not_be_read_is_said(project: Project, sql: str, told: str) -> None:
    (found,) = run_sql(project, sql)
    assert found.code == "DSM405"
    assert told in found.message


def test_plpgsql_that_can_not_be_parsed_is_a_syntax_error(project: Project) -> None:
    assert codes(run_sql(project, "DO $$ BEGIN UPDATE; END $$")) == ["DSM601"]
    assert codes(run_sql(project, "DO $$ BEGIN IF; END $$")) == ["DSM601"]


def test_a_long_statement_on_a_locked_table_says_so(project: Project) -> None:
    (found,) = run_sql(
        project, "ALTER TABLE store_order ADD COLUMN note text; UPDATE store_order SET note = ''"
    )
    assert found.code == "DSM402"
    assert "ACCESS EXCLUSIVE on store_order already (by ALTER TABLE store_order" in found.message


def test_findings_name_their_table(project: Project) -> None:
    found = run_sql(
        project,
        "CREATE INDEX total_idx ON store_order (total); DROP INDEX order_reference_idx; "
        "ALTER TABLE store_customer ALTER email SET NOT NULL",
    )
    assert [finding.table for finding in found][:3] == [
        "store_order",
        "store_order",
        "store_customer",
    ]


def test_a_comment_hides_what_is_found_in_sql(project: Project) -> None:
    found = project.operations(
        """
        # safemigrations: ignore DSM402 -- twelve rows
        migrations.RunSQL("UPDATE store_tag SET label = lower(label)", ""),
        """
    )
    assert codes(found) == []


@pytest.mark.parametrize(
    "sql",
    [
        "CREATE INDEX ON store_order (total)",
        "CREATE UNIQUE INDEX t_idx ON store_order (lower(reference)) WHERE total > 5",
        "DROP INDEX order_reference_idx",
        "ALTER TABLE store_order ADD COLUMN token uuid NOT NULL DEFAULT gen_random_uuid()",
        "ALTER TABLE store_order ADD CONSTRAINT total_ck CHECK (total > 0)",
        "ALTER TABLE store_order ADD FOREIGN KEY (total) REFERENCES store_tag (id) ON DELETE CASCADE",
        "ALTER TABLE store_order ADD CONSTRAINT total_key UNIQUE (total)",
        "ALTER TABLE store_customer ALTER email SET NOT NULL",
        "ALTER TABLE store_log DETACH PARTITION store_log_2019",
        "REINDEX INDEX order_reference_idx",
        "REFRESH MATERIALIZED VIEW store_totals",
    ],
)
def test_what_the_hint_says_to_paste_has_no_such_finding(project: Project, sql: str) -> None:
    (found,) = run_sql(project, sql)
    _, _, rest = found.hint.partition("migrations.RunSQL(")
    pasted = "migrations.RunSQL(" + rest.split("\nor", 1)[0].split("\nThe default", 1)[0]
    pasted = pasted.replace("reverse_sql=…", "reverse_sql=migrations.RunSQL.noop")
    again = project.operations(pasted, atomic="atomic = False" not in found.hint)
    assert codes(again) == []
