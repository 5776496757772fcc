"""What the layer over PostgreSQL's catalog, locks and triggers promises, on a real server."""
