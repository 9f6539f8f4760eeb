"""Windsock's monitor: a durable log of what happens in Airflow, the mail about it, and a live feed of it."""

__version__ = "0.1.0"
