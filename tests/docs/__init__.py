"""Tests that execute the documentation, and compare its reference pages with the code."""
