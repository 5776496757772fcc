"""The report as a file, as a document, and in a real browser."""
