"""Windsock's part inside Airflow: it builds events, keeps them in a spool, and sends them to the monitor.

Standard library and pluggy only: it is loaded in every Airflow process, each task's included.
"""

__version__ = "0.1.0"
