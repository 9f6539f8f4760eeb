"""The monitor of Windsock: an event log of Airflow, the notifications about it, and a live feed."""

__version__ = "0.1.0"
