"""The read models of the log: runs, task tries, assets, DAGs and import errors."""
