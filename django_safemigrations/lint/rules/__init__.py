"""The rules: one function an operation class, each yields what it sees."""

from django_safemigrations.lint.rules.history import judge_before, judge_file, judge_history
from django_safemigrations.lint.rules.registry import judge

__all__ = ["judge", "judge_before", "judge_file", "judge_history"]
