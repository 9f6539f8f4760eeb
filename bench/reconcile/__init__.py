"""What a comparison costs Airflow, and that it does not grow with Airflow's history."""
