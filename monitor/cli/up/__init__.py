"""`windsock up`: Airflow, the DAGs and the monitor on this machine, started by one command."""
