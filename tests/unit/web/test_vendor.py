"""What pages take from npm is what its sums say, with its licence beside it: `make vendor` renews it."""

import hashlib
from pathlib import Path

VENDOR = Path("templates/web/static/vendor")


def test_each_file_is_as_it_was_published() -> None:
    for library in VENDOR.iterdir():
        lines = (library / "SHA256SUMS").read_text().splitlines()
        sums = {name: told for told, name in (line.split() for line in lines)}
        kept = {file.name for file in library.iterdir()} - {"README.md", "SHA256SUMS"}
        assert kept == set(sums), "each file has a sum"
        assert "LICENSE" in kept
        for name, told in sums.items():
            assert hashlib.sha256((library / name).read_bytes()).hexdigest() == told, name
