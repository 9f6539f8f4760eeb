"""What examines and builds a release: `make audit`, `make release`. Runs in an environment of its own."""
