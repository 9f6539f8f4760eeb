"""How long from a state change in Airflow to a reader of the feed."""
