"""What each bound costs: `python -m bench.bounds`."""
