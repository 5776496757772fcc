"""Runs console blocks as they are shown, and says where the output differs from what is shown."""

from __future__ import annotations

import os
import re
import select
import shlex
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from tests.docs.markdown import Block

PROMPT = "$ "
ELISION = "..."
LONGEST = 120.0


@dataclass(frozen=True)
class Command:
    """A command of a console block and the output that is shown below it.

    Attributes:
        line: as it is typed.
        shown: the output; "..." alone stands for any lines, inside a line for any text.
        answers: what is typed at prompts, in order; each ends a line of `shown`.
        code: the exit code.
    """

    line: str
    shown: tuple[str, ...]
    answers: tuple[str, ...] = ()
    code: int = 0

    @property
    def prompts(self) -> list[tuple[str, str]]:
        """The text at which each answer is typed, and the answer."""
        found: list[tuple[str, str]] = []
        left = list(self.answers)
        for line in self.shown:
            if left and line.endswith(f" {left[0]}"):
                answer = left.pop(0)
                found.append((line[: -len(answer)], answer))
        if left:
            raise ValueError(f"{self.line}: no shown line ends with the answer {left[0]!r}")
        return found

    @property
    def pattern(self) -> str:
        """What the whole output has to match."""
        lines = []
        for line in self.shown:
            if line.strip() == ELISION:
                lines.append(r"(?:.*\n)*?")
            else:
                lines.append(".*?".join(map(re.escape, line.split(ELISION))) + r" *\n")
        return "".join(lines)


def commands(block: Block) -> Iterator[Command]:
    """Yield the commands of a console block; its attributes count for the last one."""
    found: list[tuple[str, list[str]]] = []
    for line in block.text.splitlines():
        if line.startswith(PROMPT):
            found.append((line.removeprefix(PROMPT), []))
        elif not found:
            raise ValueError(f"{block.place}: output without a command")
        else:
            found[-1][1].append(line.rstrip())
    for number, (line, shown) in enumerate(found, 1):
        last = number == len(found)
        yield Command(
            line,
            tuple(shown),
            tuple(block.attributes.get("answers", "").split()) if last else (),
            int(block.attributes.get("exit", 0)) if last else 0,
        )


@dataclass
class Terminal:
    """Where a reader types: a directory and an environment.

    Attributes:
        directory: the working directory; `cd` changes it.
        environment: what the commands get; nothing else is passed on.
    """

    directory: Path
    environment: Mapping[str, str]
    history: list[str] = field(default_factory=list)

    def write(self, block: Block) -> None:
        """Do what a block with a title asks for."""
        path = self.directory / block.attributes["title"]
        before = path.read_text() if "append" in block.attributes else ""
        path.write_text(before + block.text)

    def run(self, command: Command) -> str:
        """Run a command; return what is wrong with its output, or an empty text."""
        words = shlex.split(command.line)
        self.history.append(command.line)
        if words[0] == "cd":
            self.directory = (self.directory / words[1]).resolve()
            return ""
        if words[0] == "python":
            words[0] = sys.executable
        output, code = self._type(words, command.prompts)
        if code != command.code:
            return f"`{command.line}` ended with {code}, not with {command.code}:\n{output}"
        if not re.fullmatch(command.pattern, output):
            shown = "\n".join(command.shown)
            return f"`{command.line}` does not print\n{shown}\n-- but\n{output}"
        return ""

    def _type(self, words: list[str], prompts: list[tuple[str, str]]) -> tuple[str, int]:
        """Run a program, typing each answer when its prompt has appeared."""
        with subprocess.Popen(
            words,
            cwd=self.directory,
            env=dict(self.environment),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        ) as process:
            assert process.stdin is not None
            assert process.stdout is not None
            waiting = list(prompts)
            output = b""
            deadline = time.monotonic() + LONGEST
            if not waiting:
                process.stdin.close()
            while True:
                ready, _, _ = select.select([process.stdout], [], [], deadline - time.monotonic())
                if not ready:
                    process.kill()
                    output += f"\n(killed after {LONGEST:.0f} s)\n".encode()
                    break
                read = os.read(process.stdout.fileno(), 65536)
                if not read:
                    break
                output += read
                if waiting and output.endswith(waiting[0][0].encode()):
                    answer = f"{waiting.pop(0)[1]}\n".encode()
                    process.stdin.write(answer)
                    process.stdin.flush()
                    # A terminal would have echoed it.
                    output += answer
                    if not waiting:
                        process.stdin.close()
        return output.decode(), process.returncode
