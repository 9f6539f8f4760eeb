"""`windsock up`: Airflow, the DAGs and the monitor on this machine; one command, nothing left behind."""
