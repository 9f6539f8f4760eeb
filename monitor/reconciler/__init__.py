"""The comparison of Airflow with the log, which adds the events that no listener reported."""
