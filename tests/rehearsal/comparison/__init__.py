"""Tests of comparing a database with what it was and what it should be."""
