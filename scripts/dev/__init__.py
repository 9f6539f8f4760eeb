"""The program behind `make dev`."""
