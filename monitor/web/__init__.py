"""What is served over HTTP: the ingest endpoint, the API, the feed, the pages, health and metrics."""
