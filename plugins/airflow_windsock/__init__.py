"""The part of Windsock inside Airflow, which builds events, spools them and sends them to the monitor.

The package needs only the standard library and pluggy, because every Airflow process loads it, each task's
process included.
"""

__version__ = "0.1.0"
