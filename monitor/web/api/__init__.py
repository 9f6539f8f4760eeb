"""The JSON API, the ingest endpoint, the feed and the health checks."""
