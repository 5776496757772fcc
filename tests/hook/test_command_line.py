"""makemigrations typed at a command line: its options, its questions, its exit codes."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from django_safemigrations.phases import Phase, migration_phase
from tests.hook.project import ORDER, Project

NewProject = Callable[..., Project]

# Plain `migrate` runs whole chains here; that it is refused otherwise has tests of its own.
ALLOW = {"PLAIN_MIGRATE": "allow"}

INDEXED = (
    ORDER
    + """
    class Meta:
        indexes = [models.Index(fields=["code"], name="order_code")]
"""
)
RENAMED = ORDER.replace("total =", "amount =")
STRICT = ORDER.replace("total = models.IntegerField(null=True)", "total = models.IntegerField()")
EVERYTHING = INDEXED.replace("note = models.TextField(null=True)", "note = models.TextField()")


@pytest.fixture
def project(new_project: NewProject) -> Project:
    """A project with one model and its first migration, not applied."""
    made = new_project("django_safemigrations", "shop", SAFE_MIGRATIONS=ALLOW)
    made.begin()
    return made


def change(project: Project, models: str, typed: str = "", *args: str) -> list[str]:
    """Change the models, make migrations, and return the names of the new ones."""
    before = project.names()
    project.models("shop", models)
    project.run("makemigrations", "shop", *args, typed=typed)
    return [name for name in project.names() if name not in before]


class TestFiles:
    def test_a_rename_is_asked_once_and_written_in_two_phases(self, project: Project) -> None:
        names = change(project, RENAMED, "y\n")
        assert names == [
            "0002_rename_order_total_to_amount",
            "0003_rename_order_total_to_amount_contract",
        ]
        phases = [migration_phase(project.migration(name)) for name in names]
        assert phases == [Phase.EXPAND, Phase.CONTRACT]
        for name in names:
            text = project.text(name)
            assert "\n    atomic = False\n" in text
            assert text.count("atomic") == 1
            assert "django_safemigrations.operations" in text
            assert project.migration(name).atomic is False
        assert "Expand: rename shop.order: total to amount." in project.text(names[0])
        assert "Contract: rename shop.order: total to amount." in project.text(names[1])
        assert "safemigrate --phase contract" in " ".join(project.text(names[1]).split())

    def test_the_docstring_is_one_and_the_file_loads(self, project: Project) -> None:
        for name in change(project, INDEXED, "", "--no-input"):
            migration = project.migration(name)
            doc = type(migration).__doc__ or ""
            assert doc.startswith(("Expand: ", "Contract: "))
            assert all(len(line) <= 100 for line in project.text(name).splitlines()[:20])

    def test_names_are_readable_and_not_too_long(self, project: Project) -> None:
        long = "a_field_with_a_name_that_is_as_long_as_postgresql_lets_it_be"
        project.models("shop", ORDER.replace("code =", f"{long} ="))
        project.run("makemigrations", typed="y\n")
        names = project.names()[1:]
        assert len(names) == 2
        assert all(len(name) < 90 for name in names), names
        assert all("auto" not in name for name in names)
        assert names[1].endswith("_contract")

    def test_a_plain_change_is_written_as_django_writes_it(self, project: Project) -> None:
        more = ORDER + "    more = models.IntegerField(null=True)\n"
        [name] = change(project, more, "", "--no-input")
        assert name == "0002_order_more"
        assert "atomic" not in project.text(name)
        assert '"""' not in project.text(name)
        assert "django_safemigrations" not in project.text(name)

    def test_a_default_for_not_null_is_asked_as_django_asks(self, project: Project) -> None:
        names = change(project, STRICT, "1\n7\n")
        assert [migration_phase(project.migration(n)) for n in names] == [
            Phase.EXPAND,
            Phase.CONTRACT,
        ]
        text = project.text(names[0])
        for stage in ("FillNullsOnWrite", "BackfillNulls", "SetNotNull"):
            assert stage in text
        assert "value=7" in text

    def test_without_a_default_not_null_is_a_contract_alone(self, project: Project) -> None:
        [name] = change(project, STRICT, "2\n")
        assert migration_phase(project.migration(name)) is Phase.CONTRACT
        assert "SetNotNull" in project.text(name)

    def test_a_second_run_goes_on_from_the_contract(self, project: Project) -> None:
        first = change(project, RENAMED, "y\n")
        second = change(
            project, RENAMED + "    more = models.IntegerField(null=True)\n", "", "--no-input"
        )
        assert project.migration(second[0]).dependencies == [("shop", first[-1])]
        assert "No changes" in project.run("makemigrations", "--check")


class TestOptions:
    def test_a_name_of_the_developer_s_choice_is_in_every_file(self, project: Project) -> None:
        names = change(project, RENAMED, "y\n", "-n", "money")
        assert [name[:10] for name in names] == ["0002_money", "0003_money"]

    def test_check_ends_with_1_before_and_0_after(self, project: Project) -> None:
        assert project.manage("makemigrations", "--check").code == 0
        project.models("shop", INDEXED)
        assert project.manage("makemigrations", "--check").code == 1
        assert project.names() == ["0001_initial"]
        project.run("makemigrations", "--no-input")
        assert project.manage("makemigrations", "--check").code == 0

    def test_check_is_clean_whatever_has_been_applied(self, project: Project) -> None:
        project.run("migrate", "-v0", "--no-input")
        names = change(project, RENAMED, "y\n")
        for name in names:
            project.run("migrate", "shop", name, "-v0", "--no-input")
            assert "No changes" in project.run("makemigrations", "--check")

    def test_dry_run_shows_all_parts_and_writes_none(self, project: Project) -> None:
        project.models("shop", RENAMED)
        said = project.run("makemigrations", "--dry-run", "-v3", typed="y\n")
        assert "0002_rename_order_total_to_amount.py" in said
        assert "0003_rename_order_total_to_amount_contract.py" in said
        assert "Expand: rename" in said
        assert "atomic = False" in said
        assert project.names() == ["0001_initial"]

    def test_empty_is_written_as_django_writes_it(self, project: Project) -> None:
        project.run("makemigrations", "shop", "--empty", "-n", "mine")
        assert project.names() == ["0001_initial", "0002_mine"]
        assert project.migration("0002_mine").operations == []
        assert "atomic" not in project.text("0002_mine")

    def test_merge_is_written_as_django_writes_it(self, project: Project) -> None:
        project.run("makemigrations", "shop", "--empty", "-n", "left")
        left = project.directory / "shop/migrations/0002_left.py"
        right = left.with_name("0002_right.py")
        right.write_text(left.read_text())
        project.run("makemigrations", "shop", "--merge", "--no-input")
        merge = project.migration(project.names()[-1])
        assert sorted(merge.dependencies) == [("shop", "0002_left"), ("shop", "0002_right")]

    def test_two_branches_that_each_have_a_chain_merge(self, project: Project) -> None:
        names = change(project, INDEXED, "", "--no-input")
        texts = {name: project.text(name) for name in names}
        for name in names:
            (project.directory / f"shop/migrations/{name}.py").unlink()
        change(project, RENAMED, "y\n")
        for name, text in texts.items():
            project.write(f"shop/migrations/{name}.py", text)
        project.models("shop", INDEXED.replace("total =", "amount ="))
        project.run("makemigrations", "--merge", "--no-input")
        project.run("migrate", "-v0", "--no-input")
        assert "No changes" in project.run("makemigrations", "--check")

    def test_scriptable_prints_nothing_but_paths_on_standard_output(self, project: Project) -> None:
        project.models("shop", RENAMED)
        result = project.manage("makemigrations", "--scriptable", typed="y\n")
        assert result.code == 0, result.said
        lines = [line for line in result.out.splitlines() if line]
        assert [line.rpartition("/")[2] for line in lines] == [
            f"{name}.py" for name in project.names()[1:]
        ]

    def test_notes_do_not_get_into_scriptable_output(self, new_project: NewProject) -> None:
        """A rename of the primary key can't be staged, and says so."""
        keyed = ORDER + "    {} = models.CharField(max_length=9, primary_key=True)\n"
        project = new_project("django_safemigrations", "shop")
        project.begin("shop", keyed.format("number"))
        project.models("shop", keyed.format("key"))
        result = project.manage("makemigrations", "--scriptable", typed="y\n")
        assert result.code == 0, result.said
        assert "DSM302" in result.err
        assert 'db_column="number"' in result.err
        assert [line.rpartition("/")[2] for line in result.out.splitlines() if line] == [
            f"{name}.py" for name in project.names()[1:]
        ]

    def test_update_is_refused_with_the_way_out(self, project: Project) -> None:
        project.models("shop", INDEXED)
        before = project.text("0001_initial")
        result = project.manage("makemigrations", "--update", "--no-input")
        assert result.code == 1
        assert "without --update" in result.err
        assert project.names() == ["0001_initial"]
        assert project.text("0001_initial") == before

    def test_update_of_a_plain_change_works(self, project: Project) -> None:
        project.models("shop", ORDER + "    more = models.IntegerField(null=True)\n")
        project.run("makemigrations", "--update", "--no-input")
        assert len(project.names()) == 1

    def test_update_of_a_file_that_holds_a_chain_is_refused(self, project: Project) -> None:
        """A plain change poured into a staged migration would run outside of a transaction."""
        names = change(project, INDEXED, "", "--no-input")
        text = project.text(names[-1])
        project.models(
            "shop",
            INDEXED.replace(
                "    class Meta", "    more = models.IntegerField(null=True)\n\n    class Meta"
            ),
        )
        result = project.manage("makemigrations", "--update", "--no-input")
        if result.code == 0:
            # If it is done, nothing of the chain may be lost.
            updated = project.migration(project.names()[-1])
            assert updated.atomic is False
            assert "Expand" in [type(op).__name__ for op in updated.operations]
        else:
            assert "--update" in result.err
            assert project.text(names[-1]) == text


class TestRenameField:
    LINE = 'add db_column="total" to shop.Order.amount in the model and run makemigrations again'

    @pytest.fixture
    def project(self, new_project: NewProject) -> Project:
        made = new_project(
            "django_safemigrations", "shop", SAFE_MIGRATIONS={**ALLOW, "RENAME_FIELD": "db_column"}
        )
        made.begin()
        made.run("migrate", "-v0", "--no-input")
        made.models("shop", RENAMED)
        return made

    def test_the_line_to_add_is_printed_exactly_and_nothing_is_written(
        self, project: Project
    ) -> None:
        result = project.manage("makemigrations", typed="y\n")
        assert result.code == 1
        assert self.LINE in result.err
        assert "Traceback" not in result.err
        assert project.names() == ["0001_initial"]

    def test_with_the_line_the_rename_needs_no_database_work(self, project: Project) -> None:
        project.models(
            "shop",
            RENAMED.replace(
                "IntegerField(null=True)", 'IntegerField(null=True, db_column="total")'
            ),
        )
        project.run("makemigrations", typed="y\n")
        [name] = project.names()[1:]
        assert "RenameField" in project.text(name)
        assert "Synced" not in project.text(name)
        project.run("migrate", "-v0", "--no-input")
        assert "No changes" in project.run("makemigrations", "--check")

    def test_migrate_asks_nothing_and_still_works(self, project: Project) -> None:
        result = project.manage("migrate", "--no-input")
        assert result.code == 0, result.said
        assert "No migrations to apply" in result.out
        assert "not yet reflected" in result.said


class TestApps:
    DEPOT = """
        from django.db import models

        class Box(models.Model):
            {field}
    """

    def test_other_apps_depend_on_the_last_expand_and_on_no_contract(
        self, new_project: NewProject
    ) -> None:
        project = new_project("django_safemigrations", "shop", "depot", SAFE_MIGRATIONS=ALLOW)
        old = (
            ORDER
            + """
    class Meta:
        indexes = [models.Index(fields=["note"], name="order_note")]
"""
        )
        project.begin("shop", old)
        project.begin("depot", self.DEPOT.format(field="size = models.IntegerField(null=True)"))
        project.models(
            "shop",
            INDEXED
            + """

class Tag(models.Model):
    name = models.CharField(max_length=5)
""",
        )
        project.models(
            "depot",
            self.DEPOT.format(
                field="tag = models.ForeignKey('shop.Tag', models.CASCADE, null=True)"
            ),
        )
        project.run("makemigrations", "--no-input")
        shop = {name: project.migration(name) for name in project.names()[1:]}
        phases = {name: migration_phase(m) for name, m in shop.items()}
        assert set(phases.values()) == {Phase.EXPAND, Phase.CONTRACT}
        last_expand = [name for name, phase in phases.items() if phase is Phase.EXPAND][-1]
        contracts = {("shop", name) for name, phase in phases.items() if phase is Phase.CONTRACT}
        for name in project.names("depot")[1:]:
            depends = set(project.migration(name, "depot").dependencies)
            assert not depends & contracts
        wanted = [set(project.migration(n, "depot").dependencies) for n in project.names("depot")]
        assert any(("shop", last_expand) in dependencies for dependencies in wanted)
        project.run("migrate", "-v0", "--no-input")
        assert "No changes" in project.run("makemigrations", "--check")

    def test_an_app_whose_run_is_only_contracts_holds_up_nobody(
        self, new_project: NewProject
    ) -> None:
        project = new_project("django_safemigrations", "shop", "depot", SAFE_MIGRATIONS=ALLOW)
        project.begin("shop", INDEXED)
        project.begin("depot", self.DEPOT.format(field="size = models.IntegerField(null=True)"))
        project.models("shop", ORDER)
        project.models(
            "depot",
            self.DEPOT.format(
                field="order = models.ForeignKey('shop.Order', models.CASCADE, null=True)"
            ),
        )
        project.run("makemigrations", "--no-input")
        [contract] = project.names("shop")[1:]
        assert migration_phase(project.migration(contract)) is Phase.CONTRACT
        for name in project.names("depot")[1:]:
            assert ("shop", contract) not in project.migration(name, "depot").dependencies
        project.run("migrate", "-v0", "--no-input")

    def test_one_app_can_be_named(self, new_project: NewProject) -> None:
        project = new_project("django_safemigrations", "shop", "depot", SAFE_MIGRATIONS=ALLOW)
        project.begin("shop")
        project.begin("depot", ORDER)
        project.models("shop", INDEXED)
        project.models("depot", INDEXED.replace("order_code", "depot_code"))
        project.run("makemigrations", "depot", "--no-input")
        assert project.names("shop") == ["0001_initial"]
        assert len(project.names("depot")) == 2

    def test_two_apps_that_refer_to_each_other_in_one_run_can_be_migrated(
        self, new_project: NewProject
    ) -> None:
        project = new_project("django_safemigrations", "shop", "depot", SAFE_MIGRATIONS=ALLOW)
        project.begin("shop", INDEXED)
        project.begin("depot", self.DEPOT.format(field="size = models.IntegerField(null=True)"))
        project.models(
            "shop",
            ORDER + "    box = models.ForeignKey('depot.Crate', models.CASCADE, null=True)\n",
        )
        project.models(
            "depot",
            self.DEPOT.format(field="size = models.IntegerField(null=True, db_index=True)")
            + """
        class Crate(models.Model):
            sale = models.ForeignKey("shop.Order", models.CASCADE, null=True, related_name="+")
            """,
        )
        project.run("makemigrations", "--no-input")
        project.run("migrate", "-v0", "--no-input")
        assert "No changes" in project.run("makemigrations", "--check")
        project.run("migrate", "shop", "0001", "-v0", "--no-input")


def test_everything_together_is_written_and_migrates_there_and_back(project: Project) -> None:
    project.run("migrate", "-v0", "--no-input")
    models = EVERYTHING.replace("total =", "amount =")
    names = change(project, models, "y\n1\n'none'\n")
    phases = [migration_phase(project.migration(name)) for name in names]
    assert phases == sorted(phases, key=[Phase.EXPAND, Phase.CONTRACT].index)
    assert "No changes" in project.run("makemigrations", "--check")
    project.run("migrate", "-v0", "--no-input")
    project.run("migrate", "shop", "0001", "-v0", "--no-input")
    project.run("migrate", "-v0", "--no-input")
