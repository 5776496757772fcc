"""Writes a project with a long history, as teams have it after years: apps, models, migrations.

The same numbers give the same files. The models are what the migrations come to, so that
`makemigrations --check` finds nothing to do.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from pathlib import Path

APPS = 10

FIELDS = {
    "CharField": "max_length={n}",
    "TextField": 'default=""',
    "IntegerField": "default=0",
    "BigIntegerField": "null=True",
    "PositiveIntegerField": "null=True",
    "BooleanField": "default=False",
    "DateTimeField": "null=True",
    "DecimalField": "max_digits=10, decimal_places=2, null=True",
    "JSONField": "default=dict",
    "UUIDField": "null=True",
    "SlugField": "max_length={n}, null=True",
}

HEAD = '''"""Generated."""

from django.db import migrations, models
'''

MIGRATION = """

class Migration(migrations.Migration):
    dependencies = [{dependencies}]

    operations = [
{operations}    ]
"""

PYTHON = """

def forwards(apps, schema_editor):
    Model = apps.get_model("{app}", "{model}")
    Model.objects.filter(pk__lt=0).update(pk=0)
"""

SETTINGS = """
SECRET_KEY = "benchmark"
USE_TZ = True
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
DATABASES = {{"default": {database!r}}}
INSTALLED_APPS = {apps!r}
# What the checks of installed packages ask for.
STATIC_URL = "static/"
ROOT_URLCONF = __name__
urlpatterns = []
SITE_ID = 1
WAGTAIL_SITE_NAME = "benchmark"
WAGTAILADMIN_BASE_URL = "http://localhost"
MIDDLEWARE = [
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
]
TEMPLATES = [
    {{
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {{
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
        }},
    }},
]
"""


@dataclass
class Model:
    """A model as it is at some point of the history."""

    app: str
    name: str
    fields: dict[str, str] = field(default_factory=dict)
    indexes: dict[str, str] = field(default_factory=dict)
    constraints: dict[str, str] = field(default_factory=dict)

    def body(self) -> str:
        """Return the class for models.py."""
        lines = [f"class {self.name}(models.Model):"]
        lines += [f"    {name} = {spec}" for name, spec in self.fields.items()]
        lines += ["", "    class Meta:", f"        indexes = [{', '.join(self.indexes.values())}]"]
        lines.append(f"        constraints = [{', '.join(self.constraints.values())}]")
        return "\n".join(lines)


class History:
    """Edits models at random and writes each edit down as a migration.

    Args:
        directory: where the apps go.
        migrations: how many files in all.
        models: how many models in all.
    """

    def __init__(self, directory: Path, *, migrations: int, models: int) -> None:
        self.directory = directory
        self.random = random.Random(20)
        self.apps = [f"app{n}" for n in range(APPS)]
        self.models: dict[str, list[Model]] = {app: [] for app in self.apps}
        self.last: dict[str, str] = {}
        self.number = 0
        for n in range(models):
            app = self.apps[n % APPS]
            self.models[app].append(Model(app, f"Model{n}"))
        for app in self.apps:
            self._start(app)
        for n in range(migrations - APPS):
            self._edit(self.apps[n % APPS])
        for app in self.apps:
            text = HEAD.replace("migrations, ", "")
            text += "".join(f"\n\n{model.body()}\n" for model in self.models[app])
            (directory / app / "models.py").write_text(text)

    def _start(self, app: str) -> None:
        package = self.directory / app / "migrations"
        package.mkdir(parents=True)
        (package / "__init__.py").touch()
        (package.parent / "__init__.py").touch()
        operations = []
        for model in self.models[app]:
            for _ in range(6):
                self._new_field(model)
            index = self.apps.index(app)
            if index:
                # Apps depend on the one before.
                other = self.random.choice(self.models[self.apps[index - 1]])
                model.fields["owner"] = self._foreign_key(other)
            fields = "".join(f'("{name}", {spec}), ' for name, spec in model.fields.items())
            key = (
                '("id", models.BigAutoField(auto_created=True, primary_key=True, '
                'serialize=False, verbose_name="ID")), '
            )
            operations.append(
                f'migrations.CreateModel(name="{model.name}", fields=[{key}{fields}])'
            )
        before = [
            f'("{other}", "0001_initial")' for other in self.apps[: self.apps.index(app)][-1:]
        ]
        self._write(app, "0001_initial", before, operations)

    def _foreign_key(self, model: Model) -> str:
        return f'models.ForeignKey("{model.app}.{model.name}", models.CASCADE, null=True, related_name="+")'

    def _new_field(self, model: Model) -> str:
        self.number += 1
        kind = self.random.choice(list(FIELDS))
        name = f"field{self.number}"
        options = FIELDS[kind].format(n=self.random.randrange(10, 200))
        model.fields[name] = f"models.{kind}({options})"
        return name

    def _edit(self, app: str) -> None:
        model = self.random.choice(self.models[app])
        names = [n for n in model.fields if n.startswith("field")]
        used = " ".join([*model.indexes.values(), *model.constraints.values()])
        free = [n for n in names if f'"{n}"' not in used and f"{n}__" not in used]
        self.number += 1
        kind = self.random.random()
        head = ""
        about = f'model_name="{model.name.lower()}"'
        if kind < 0.4 or len(free) < 4:
            name = self._new_field(model)
            operations = [
                f'migrations.AddField({about}, name="{name}", field={model.fields[name]})'
            ]
        elif kind < 0.6:
            name = self.random.choice(free)
            model.fields[name] = f"models.CharField(max_length={self.number % 200 + 1}, null=True)"
            operations = [
                f'migrations.AlterField({about}, name="{name}", field={model.fields[name]})'
            ]
        elif kind < 0.7:
            name = self.random.choice(free)
            index = f'models.Index(fields=["{name}"], name="i{self.number}")'
            model.indexes[f"i{self.number}"] = index
            operations = [f"migrations.AddIndex({about}, index={index})"]
        elif kind < 0.75:
            name = self.random.choice(free)
            rule = f'models.UniqueConstraint(fields=["{name}"], name="c{self.number}")'
            model.constraints[f"c{self.number}"] = rule
            operations = [f"migrations.AddConstraint({about}, constraint={rule})"]
        elif kind < 0.85:
            name = self.random.choice(free)
            new = f"field{self.number}"
            model.fields = {new if n == name else n: spec for n, spec in model.fields.items()}
            operations = [f'migrations.RenameField({about}, old_name="{name}", new_name="{new}")']
        elif kind < 0.95:
            name = self.random.choice(free)
            del model.fields[name]
            operations = [f'migrations.RemoveField({about}, name="{name}")']
        else:
            head = PYTHON.format(app=app, model=model.name)
            operations = ["migrations.RunPython(forwards, migrations.RunPython.noop)"]
        number = int(self.last[app][:4]) + 1
        before = [f'("{app}", "{self.last[app]}")']
        self._write(app, f"{number:04}_edit", before, operations, head)

    def _write(
        self, app: str, name: str, before: list[str], operations: list[str], head: str = ""
    ) -> None:
        body = MIGRATION.format(
            dependencies=", ".join(before),
            operations="".join(f"        {operation},\n" for operation in operations),
        )
        (self.directory / app / "migrations" / f"{name}.py").write_text(HEAD + head + body)
        self.last[app] = name


def write_settings(
    directory: Path, name: str, database: dict[str, object], apps: list[str]
) -> None:
    """Write a settings module."""
    text = SETTINGS.format(database=database, apps=apps)
    (directory / f"{name}.py").write_text(text)
