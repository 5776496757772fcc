"""Only what changed since a commit of git: what counts as changed, and what git can't say."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from django.conf import settings as django_settings
from django.test import override_settings

from django_safemigrations.hazards.examples import APP_LABEL
from tests.lint.conftest import Project
from tests.lint.test_adoption import add_index, found
from tests.lint.test_command import refused, run

Git = Callable[..., str]


@pytest.fixture
def git(project: Project, monkeypatch: pytest.MonkeyPatch) -> Git:
    """A checkout around the project, with everything committed on `main`."""
    root = project.directory.parents[1]
    for name in list(os.environ):
        if name.startswith("GIT_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
    monkeypatch.setenv("GIT_CONFIG_SYSTEM", os.devnull)
    monkeypatch.chdir(root)

    def call(*arguments: str) -> str:
        who = ["-c", "user.name=Tester", "-c", "user.email=tester@example.org"]
        done = subprocess.run(
            ["git", *who, *arguments], cwd=root, check=True, capture_output=True, text=True
        )
        return done.stdout

    call("init", "--quiet", "--initial-branch=main")
    (root / ".gitignore").write_text("__pycache__/\nignored/\n")
    call("add", ".")
    call("commit", "--quiet", "--message=first")
    return call


def test_since_finds_what_is_committed_staged_changed_and_untracked(
    project: Project, git: Git
) -> None:
    add_index(project, "0002_old")
    changed = add_index(project, "0003_changed")
    git("add", ".")
    git("commit", "--quiet", "--message=old")
    git("tag", "then")
    assert found("--since", "then") == []
    add_index(project, "0004_committed")
    git("add", ".")
    git("commit", "--quiet", "--message=new")
    add_index(project, "0005_staged")
    git("add", ".")
    changed.write_text(changed.read_text() + "# changed\n")
    add_index(project, "0006_untracked")
    names = ["0003_changed", "0004_committed", "0005_staged", "0006_untracked"]
    assert [name for name, _ in found("--since", "then")] == names
    assert [name for name, _ in found("store", "0005", "--since", "then")] == ["0005_staged"]
    assert [name for name, _ in found("--since", "HEAD")] == [names[0], *names[2:]]


def test_since_compares_with_where_the_branch_began(project: Project, git: Git) -> None:
    git("checkout", "--quiet", "-b", "feature")
    git("checkout", "--quiet", "main")
    theirs = add_index(project, "0002_theirs")
    git("add", ".")
    git("commit", "--quiet", "--message=theirs")
    git("checkout", "--quiet", "feature")
    assert not theirs.exists()
    project.last = "0001_initial"
    add_index(project, "0002_mine")
    assert [name for name, _ in found("--since", "main")] == ["0002_mine"]


def test_since_takes_a_renamed_file_for_a_new_one_and_forgets_a_deleted_one(
    project: Project, git: Git
) -> None:
    add_index(project, "0002_one")
    add_index(project, "0003_two")
    git("add", ".")
    git("commit", "--quiet", "--message=two")
    git("mv", "store/migrations/0003_two.py", "store/migrations/0003_zwei.py")
    assert [name for name, _ in found("--since", "HEAD")] == ["0003_zwei"]
    git("rm", "--quiet", "--force", "store/migrations/0003_zwei.py")
    assert found("--since", "HEAD") == []


def test_since_works_below_the_root_and_with_any_name_of_a_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / 'my "shop" ünïcode'
    inside = Project(root / "back end")
    monkeypatch.syspath_prepend(str(root / "back end"))
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
    subprocess.run(["git", "init", "--quiet", str(root)], check=True)
    (root / "file").write_text("")
    subprocess.run(["git", "add", "file"], cwd=root, check=True)
    who = ["-c", "user.name=Tester", "-c", "user.email=tester@example.org"]
    subprocess.run(["git", *who, "commit", "-qm", "first"], cwd=root, check=True)
    add_index(inside, "0002_index")
    monkeypatch.chdir(root / "back end")
    with override_settings(INSTALLED_APPS=[*django_settings.INSTALLED_APPS[:2], APP_LABEL]):
        assert [name for name, _ in found("store", "--since", "HEAD")] == ["0002_index"]
        annotation = run("store", "--since", "HEAD", "--format", "github")[1]
        assert annotation.startswith("::error file=back end/store/migrations/0002_index.py,line=")


@pytest.mark.parametrize("ref", ["nonsense", "--output=x", "HEAD:store", ""])
def test_since_refuses_what_is_no_commit(project: Project, git: Git, ref: str) -> None:
    error = refused(f"--since={ref}")
    assert error.returncode == 2
    assert f"Git knows no commit {ref!r}." in str(error)


def test_since_refuses_a_commit_without_common_history(project: Project, git: Git) -> None:
    git("checkout", "--quiet", "--orphan", "other")
    git("commit", "--quiet", "--message=unrelated")
    error = refused("--since", "main")
    assert error.returncode == 2
    assert "have no common ancestor here" in str(error)
    assert "fetch-depth: 0" in str(error)


def test_since_outside_of_a_checkout_is_wrong_usage(
    project: Project, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    monkeypatch.chdir(tmp_path)
    error = refused("--since", "HEAD")
    assert error.returncode == 2
    assert f"does not know {tmp_path} as a checkout: fatal: not a git repository" in str(error)


def test_since_without_git_is_wrong_usage(
    project: Project, git: Git, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "")
    error = refused("--since", "HEAD")
    assert error.returncode == 2
    assert "which can't be run" in str(error)
