"""The report of a rehearsal: one HTML file for people, one JSON file for programs."""

from django_safemigrations.rehearsal.report.files import write_report
from django_safemigrations.rehearsal.report.page import render_html

__all__ = ["render_html", "write_report"]
