"""What ingest writes in a second."""
