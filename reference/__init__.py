"""The reference pages of docs/ that are written from the code: `make docs-reference`."""
