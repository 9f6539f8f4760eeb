"""Metrics, log lines and traces of the monitor itself."""
