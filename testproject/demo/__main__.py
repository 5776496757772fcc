"""Run the demo: three changes under traffic, by django_safemigrations and by plain Django.

Both halves run on the same server, each on its own copy of one seeded database. The server commits
to disk as PostgreSQL does out of the box; only checkpoints are set further apart, as in production.
"""

from __future__ import annotations

import argparse
import contextlib
import shutil
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import psycopg

from testproject.cluster import CHECKOUT
from testproject.database import Server, own_server, wanted_version
from testproject.demo.load import Total, Traffic
from testproject.demo.project import EDITS, Project, make_project
from testproject.demo.seed import ORDERS, seed

SCRATCH = CHECKOUT / ".demo"
SERVER_SETTINGS = {"max_wal_size": "4GB", "checkpoint_timeout": "30min"}
DATABASES = ("demo_safe", "demo_plain")
OURS, PLAIN = "django_safemigrations", "plain Django"
ALONE = 4.0  # seconds of traffic by one code generation before or after a deploy
TOGETHER = 5.0  # seconds of traffic by both
PROGRESS_EVERY = 2.0

WAIVERS = {
    "rehearsed": "the demo itself is the rehearsal",
    "backup": "the data was made a minute ago and can be made again",
    "rollback_plan": "the scratch database is thrown away",
}


@dataclass(frozen=True)
class Outcome:
    """What one half measured."""

    title: str
    ours: bool
    requests: int
    failed: int
    longest: float
    longest_kind: str
    seconds: float
    errors: list[tuple[str, int]]
    problem: str = ""


class StepFailed(Exception):
    """A command of the demo did not end as it should."""


class Screen:
    """Progress lines, each with the seconds since the start; safe for several threads."""

    def __init__(self) -> None:
        self._start = time.monotonic()
        self._lock = threading.Lock()

    def say(self, text: str = "") -> None:
        with self._lock:
            print(f"[{time.monotonic() - self._start:6.1f}s] {text}".rstrip(), flush=True)

    def title(self, text: str) -> None:
        self.say()
        self.say(f"==== {text} ====")

    def output(self, text: str) -> None:
        """A line that a command printed."""
        self.say(f"    | {text}")


class Half:
    """One way of deploying the change, on its own database, under its own traffic."""

    def __init__(self, screen: Screen, title: str, old: Project, new: Project) -> None:
        self.screen, self.title, self.old, self.new = screen, title, old, new
        self.running: list[Traffic] = []
        self.finished: list[Traffic] = []

    def start(self, name: str, project: Project, amount: str) -> Traffic:
        self.screen.say(f"the {name} code starts serving")
        traffic = Traffic(name, project, amount, ORDERS)
        self.running.append(traffic)
        return traffic

    def stop(self, traffic: Traffic) -> None:
        self.screen.say(f"the {traffic.name} code stops serving")
        traffic.stop()
        self.running.remove(traffic)
        self.finished.append(traffic)

    def serve(self, seconds: float) -> None:
        """Let the traffic run on for a while."""
        time.sleep(seconds)

    def command(self, project: Project, *arguments: str, answers: str = "") -> int:
        shown = " ".join(f'"{word}"' if " " in word else word for word in arguments)
        self.screen.say(f"$ manage.py {shown}")

        def say(line: str) -> None:
            # Piped answers are not echoed: put them back where a terminal would show them.
            asked, prompt, rest = line.partition("[y/N] ")
            if not answers or not prompt:
                rest = line
            else:
                self.screen.output(f"{asked}{prompt}{answers.split()[0]}")
            self.screen.output(rest)

        return project.manage(*arguments, say=say, answers=answers)

    def must(self, project: Project, *arguments: str, answers: str = "") -> None:
        code = self.command(project, *arguments, answers=answers)
        if code != 0:
            raise StepFailed(f"manage.py {arguments[0]} ended with exit code {code}")

    @contextlib.contextmanager
    def progress(self) -> Iterator[None]:
        """Show what the traffic sees every other second; stop what still runs at the end."""
        ended = threading.Event()

        def show() -> None:
            while not ended.wait(PROGRESS_EVERY):
                for traffic in list(self.running):
                    self.screen.say(f"  ~ {traffic.summary()}")

        thread = threading.Thread(target=show, daemon=True)
        thread.start()
        try:
            yield
        finally:
            for traffic in list(self.running):
                self.stop(traffic)
            ended.set()
            thread.join()

    def outcome(self, *, ours: bool, seconds: float, problem: str) -> Outcome:
        totals = [traffic.total for traffic in self.finished]
        slowest = max(totals, key=lambda total: total.longest, default=Total())
        errors: Counter[str] = Counter()
        for total in totals:
            errors.update(total.errors)
        return Outcome(
            title=self.title,
            ours=ours,
            requests=sum(total.requests for total in totals),
            failed=sum(total.broken for total in totals),
            longest=slowest.longest,
            longest_kind=slowest.longest_kind,
            seconds=seconds,
            errors=errors.most_common(5),
            problem=problem,
        )


def deploy_safely(half: Half) -> None:
    """Our way: expand under old code, deploy, contract under new code."""
    half.screen.say("the developer edits shop/models.py: an index, a NOT NULL, a rename")
    half.new.edit_models()
    waivers = [word for item, why in WAIVERS.items() for word in ("--waive", f"{item}={why}")]

    old = half.start("old", half.old, "total")
    half.serve(ALONE)
    half.must(half.new, "makemigrations", "shop", answers="y\n")
    half.must(half.new, "makemigrations", "--check", "--dry-run")
    half.must(half.new, "lintmigrations", "shop", "--unapplied")
    half.must(half.new, "safemigrate", "--plan")
    half.must(half.new, "safemigrate", "--noinput", *waivers)
    half.serve(ALONE)
    new = half.start("new", half.new, "amount")
    half.serve(TOGETHER)
    half.stop(old)
    half.must(half.new, "safemigrate", "--phase", "contract", "--noinput", *waivers)
    half.serve(ALONE)
    half.stop(new)
    half.must(half.new, "safemigrate", "--status")


def deploy_plainly(half: Half) -> None:
    """Plain Django's way: migrate under old code, then deploy."""
    half.screen.say("the same edits, without django_safemigrations")
    half.new.edit_models()
    old = half.start("old", half.old, "total")
    half.serve(ALONE)
    half.must(half.new, "makemigrations", "shop", answers="y\n")
    half.must(half.new, "migrate")
    half.serve(ALONE)
    new = half.start("new", half.new, "amount")
    half.serve(TOGETHER)
    half.stop(old)
    half.serve(ALONE)
    half.stop(new)


def run_half(half: Half, deploy: Callable[[Half], None]) -> Outcome:
    """Deploy under traffic, and say what the traffic met even when a command failed."""
    half.screen.title(half.title)
    problem, start = "", time.monotonic()
    try:
        with half.progress():
            deploy(half)
    except StepFailed as error:
        problem = str(error)
        half.screen.say(f"STOPPED: {problem}")
    seconds = time.monotonic() - start
    return half.outcome(ours=deploy is deploy_safely, seconds=seconds, problem=problem)


def table(outcomes: list[Outcome]) -> list[str]:
    """The closing table, one column a way."""
    rows = [
        ("", [outcome.title for outcome in outcomes]),
        ("requests", [f"{outcome.requests:,}" for outcome in outcomes]),
        ("failed requests", [f"{outcome.failed:,}" for outcome in outcomes]),
        (
            "longest stall",
            [f"{outcome.longest * 1000:,.0f} ms ({outcome.longest_kind})" for outcome in outcomes],
        ),
        ("total time", [f"{outcome.seconds:.0f} s" for outcome in outcomes]),
    ]
    widths = [max(len(cells[i]) for _, cells in rows) for i in range(len(outcomes))]
    lines = []
    for name, cells in rows:
        shown = [cell.rjust(width) for cell, width in zip(cells, widths, strict=True)]
        lines.append(f"  {name:<16} {'   '.join(shown)}".rstrip())
    lines.insert(1, "  " + "-" * (max(len(line) for line in lines) - 2))
    return lines


def same_orders(server: Server, names: Iterable[str]) -> None:
    """Both halves start from the same rows, or the comparison would mean nothing."""
    seen = set()
    for name in names:
        with psycopg.connect(server.dsn(name)) as connection:
            seen.add(
                connection.execute(
                    "SELECT count(*), sum(total), max(id) FROM shop_order"
                ).fetchone()
            )
    if len(seen) != 1:
        raise StepFailed(f"the databases {' and '.join(names)} differ: {seen}")


def prepare(screen: Screen, server: Server, scratch: Path) -> tuple[Half, Half]:
    """Seed one database, copy it, and make the old and the new code of both halves."""
    names = DATABASES
    for name in ("demo_seed", *names):
        server.drop_database(name)
    server.create_database("demo_seed")
    screen.say("plain Django's migrate makes the shop's tables")
    template = make_project(scratch / "seed", server.django("demo_seed"), safe=False)
    code = template.manage("migrate", "-v0", say=screen.output)
    if code != 0:
        raise StepFailed(f"manage.py migrate ended with exit code {code}")
    orders = seed(server.dsn("demo_seed"))
    screen.say(f"seeded {orders:,} orders")
    for name in names:
        server.create_database(name, template="demo_seed")
    server.drop_database("demo_seed")
    same_orders(server, names)
    screen.say("copied the database: the two halves start from identical ones")
    halves = []
    for name, title, safe in zip(names, (OURS, PLAIN), (True, False), strict=True):
        database = server.django(name)
        old = make_project(scratch / f"{name}_old", database, safe=safe)
        new = make_project(scratch / f"{name}_new", database, safe=safe)
        halves.append(Half(screen, title, old, new))
    return halves[0], halves[1]


def closing(outcomes: list[Outcome]) -> tuple[int, str]:
    """The exit code, and the sentence that says why."""
    ours = next((outcome for outcome in outcomes if outcome.ours), None)
    plain = next((outcome for outcome in outcomes if not outcome.ours), None)
    if ours is None:
        return 0, "Only plain Django was run: there is nothing to judge."
    if ours.problem:
        return 1, f"FAILED on our side: {ours.problem}."
    if ours.failed:
        return 1, f"FAILED: {ours.failed:,} of {ours.requests:,} requests failed on our side."
    if plain is None or not ours.longest:
        return 0, "No request failed on our side."
    ratio = plain.longest / ours.longest
    return 0, f"No request failed on our side. Plain Django's longest stall is {ratio:.0f} x ours."


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m testproject.demo", description=__doc__)
    parser.add_argument("--only", choices=["ours", "plain"], help="run one half (default: both)")
    only = parser.parse_args().only
    screen = Screen()
    screen.title("two identical shops")
    screen.say("starting PostgreSQL, which commits to disk as usual")
    shutil.rmtree(SCRATCH, ignore_errors=True)
    version = wanted_version()
    server = own_server(version, f"demo-{version}", SERVER_SETTINGS)
    try:
        safe, plain = prepare(screen, server, SCRATCH)
        screen.say("the change, in shop/models.py:")
        for before, after in EDITS:
            screen.output(f"- {before.strip()}")
            for line in after.strip().splitlines():
                screen.output(f"+ {line.strip()}")
        outcomes = []
        if only != "plain":
            outcomes.append(run_half(safe, deploy_safely))
        if only != "ours":
            outcomes.append(run_half(plain, deploy_plainly))
    finally:
        server.stop()
        if server.cluster is not None:
            server.cluster.remove()

    screen.title("result")
    for outcome in outcomes:
        for error, count in outcome.errors:
            screen.say(f"  {outcome.title}: {count:,} x {error[:150]}")
    code, sentence = closing(outcomes)
    print("", *table(outcomes), "", sentence, sep="\n", flush=True)
    return code


if __name__ == "__main__":
    sys.exit(main())
