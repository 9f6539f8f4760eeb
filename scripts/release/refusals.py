"""The reasons why this tree cannot be released, each a sentence with its remedy."""

import re
from collections.abc import Iterator
from pathlib import Path

from scripts.release.project import ROOT, run, version

_HEADING = r"^## \[?{}\]?(?: - (\d{{4}}-\d\d-\d\d))?\s*$"


def refusals(root: Path = ROOT) -> list[str]:
    return [*_versions(root), *_changelog(root), *_tree(root), *_tag(root)]


def _versions(root: Path) -> Iterator[str]:
    monitor, plugin = version(root / "monitor"), version(root / "plugins" / "airflow_windsock")
    client = version(root / "client" / "windsock_client")
    if {plugin, client} != {monitor}:
        yield (
            f"the monitor is {monitor}, the plugin {plugin} and the client {client}: "
            "give all the same __version__"
        )


def _changelog(root: Path) -> Iterator[str]:
    own_version = version(root / "monitor")
    heading = re.compile(_HEADING.format(re.escape(own_version)), re.MULTILINE)
    found = heading.search((root / "CHANGELOG.md").read_text())
    if found is None:
        yield f"CHANGELOG.md has no heading '## {own_version} - YYYY-MM-DD': rename 'Unreleased' to it"
    elif found[1] is None:
        yield f"CHANGELOG.md: the heading of {own_version} has no date: '## {own_version} - YYYY-MM-DD'"


def _tree(root: Path) -> Iterator[str]:
    changed = run("git", "status", "--porcelain", cwd=root).splitlines()
    if changed:
        yield f"{len(changed)} files are not as committed, such as {changed[0][3:]!r}: commit or remove them"


def _tag(root: Path) -> Iterator[str]:
    """A version is one commit for ever."""
    tag = f"v{version(root / 'monitor')}"
    if not run("git", "tag", "--list", tag, cwd=root).strip():
        return
    tagged, head = (
        run("git", "rev-parse", f"{revision}^{{commit}}", cwd=root).strip() for revision in (tag, "HEAD")
    )
    if tagged != head:
        yield f"{tag} is another commit ({tagged[:12]}): raise __version__"
