"""The house keeps its own rules: imports go downwards, the papers are true, the wheel is whole."""

from __future__ import annotations

import ast
import os
import re
import subprocess
import sys
import tomllib
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.core.management import call_command

from testproject.database import Server, wanted_version

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "django_safemigrations"
NAME = PACKAGE.name

# From the top down. A row holds columns that do not know each other; inside a column, a module may
# import those after it. Every module may import everything in the rows below.
LAYERS: list[list[tuple[str, ...]]] = [
    [("management", "apps", "checks", "admin", "plain_migrate")],
    [
        (
            "checklist",
            "rollback_plans",
            "executor",
            "planning",
            "schedule",
            "footprints",
            "ledger",
            "models",
            "releases",
        ),
        ("tasks",),
    ],
    [("rehearsal",), ("backup",), ("lint",), ("hook", "autodetector", "writer", "rewrites")],
    [("operations",)],
    [("backfill",)],
    [("plan",), ("hazards",), ("postgres",)],
    [
        (
            "phases",
            "conf",
            "backfill_settings",
            "backup_settings",
            "rehearsal_settings",
            "profiles",
            "release_settings",
            "byte_sizes",
            "setting_checks",
            "windows",
            "exceptions",
            "lookalikes",
            "signals",
        )
    ],
]
PLACES = {
    module: (row, column, order)
    for row, columns in enumerate(LAYERS)
    for column, modules in enumerate(columns)
    for order, module in enumerate(modules)
}


def may_import(importer: str, imported: str) -> bool:
    """Whether the layers let one top-level module of the package import another."""
    if importer == imported:
        return True
    row, column, order = PLACES[importer]
    other_row, other_column, other_order = PLACES[imported]
    if row != other_row:
        return row < other_row
    return column == other_column and order < other_order


def package_modules() -> Iterator[tuple[str, Path]]:
    """Top-level module and file of every source of the package that has a place in the layers."""
    for path in sorted(PACKAGE.rglob("*.py")):
        top = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
        if top not in ("__init__", "migrations"):
            yield top, path


def imported_modules(path: Path) -> Iterator[tuple[int, str]]:
    """Line and top-level module of each import from our package, wherever in the file it is."""
    inside = (NAME, *path.relative_to(PACKAGE).parent.parts)
    for node in ast.walk(ast.parse(path.read_text())):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            package = inside[: len(inside) - node.level + 1] if node.level else ()
            source = ".".join([*package, *([node.module] if node.module else [])])
            # "from django_safemigrations import conf" names the module only in its second half
            names = [f"{source}.{alias.name}" for alias in node.names]
        for name in names:
            first, _, rest = name.partition(".")
            if first == NAME and rest:
                yield getattr(node, "lineno", 0), rest.split(".", 1)[0]


def make_targets() -> set[str]:
    return set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))


def make_commands(page: str) -> list[str]:
    """The targets that a page tells its reader to make."""
    return re.findall(r"^\$ make ([a-z]+)", (ROOT / page).read_text(), re.MULTILINE)


def test_every_module_of_the_package_has_a_place_in_the_layers() -> None:
    assert {top for top, _ in package_modules()} <= set(PLACES)


def test_imports_only_go_downwards() -> None:
    wrong = [
        f"{path.relative_to(ROOT)}:{line} imports {imported}"
        for top, path in package_modules()
        for line, imported in imported_modules(path)
        if {top, imported} <= set(PLACES) and not may_import(top, imported)
    ]
    assert wrong == []


def test_the_import_rule_forbids_upward_and_sideways_imports() -> None:
    assert may_import("executor", "postgres")
    assert may_import("autodetector", "rewrites")
    assert not may_import("postgres", "operations")
    assert not may_import("lint", "rewrites")
    assert not may_import("rewrites", "autodetector")


def test_the_package_root_does_nothing_when_imported() -> None:
    assert not list(imported_modules(PACKAGE / "__init__.py"))


def test_every_module_opens_with_one_sentence() -> None:
    without = []
    for _, path in package_modules():
        tree = ast.parse(path.read_text())
        opening = (ast.get_docstring(tree) or "").split("\n\n")[0]
        if tree.body and not opening.endswith((".", ":")):
            without.append(str(path.relative_to(ROOT)))
    assert without == []


@pytest.mark.parametrize("page", ["README.md", "CONTRIBUTING.md"])
def test_the_commands_in_the_papers_are_targets_of_the_makefile(page: str) -> None:
    commands = make_commands(page)
    assert commands
    assert set(commands) <= make_targets()


def test_the_readme_starts_with_two_commands() -> None:
    assert make_commands("README.md") == ["demo", "test"]


def test_links_in_the_papers_lead_somewhere() -> None:
    broken = [
        f"{page} -> {target}"
        for page in ["README.md", "CONTRIBUTING.md", "CHANGELOG.md"]
        for target in re.findall(r"\]\(([^)#]+)", (ROOT / page).read_text())
        if "://" not in target and not (ROOT / target).exists()
    ]
    assert broken == []


def test_the_script_of_ci_is_executable_and_well_formed() -> None:
    script = ROOT / ".ci" / "run"
    assert os.access(script, os.X_OK)
    subprocess.run(["bash", "-n", str(script)], check=True)


def test_the_matrix_covers_what_the_classifiers_promise() -> None:
    with (ROOT / "pyproject.toml").open("rb") as file:
        classifiers = tomllib.load(file)["project"]["classifiers"]
    promised = {line.rpartition(" :: ")[2] for line in classifiers if re.search(r"\d\.\d", line)}
    noxfile = (ROOT / "noxfile.py").read_text()
    assert promised == set(re.findall(r'"(\d\.\d+)"', noxfile))


def test_the_wheel_holds_the_whole_package_and_nothing_else(tmp_path: Path) -> None:
    subprocess.run(
        [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)],
        cwd=ROOT,
        check=True,
        capture_output=True,
    )
    (wheel,) = tmp_path.glob("django_safemigrations-*.whl")
    held = set(zipfile.ZipFile(wheel).namelist())
    sources = {
        path.relative_to(ROOT).as_posix()
        for path in PACKAGE.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert {name for name in held if ".dist-info/" not in name} == sources
    assert f"{NAME}/py.typed" in held
    assert any(name.endswith("/LICENSE") for name in held)


@pytest.mark.django_db
def test_the_models_of_the_shop_have_all_their_migrations() -> None:
    call_command("makemigrations", check=True, dry_run=True, verbosity=0)


@pytest.mark.postgres_versions
def test_tests_run_on_the_server_that_was_asked_for(postgres: Server) -> None:
    assert os.environ.get("DATABASE_URL") or postgres.version == wanted_version()
