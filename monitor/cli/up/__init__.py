"""The command `windsock up`, which starts Airflow, the DAGs and the monitor on this machine."""
