"""The hooks of the site's build (mkdocs.yml), which check what a page loads and where its links lead."""

import logging
import re
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

LINK = re.compile(r'\b(?:href|src)="((?:https?:)?//[^"]*)"')
LOADED = re.compile(r'<(?:script|link|img|iframe)\b[^>]*\b(?:src|href)="(?:https?:)?//')
EXAMPLES = re.compile(r"\bexample\.(?:com|org)$|^(?:localhost|127\.0\.0\.1)$")

# Strict mode counts what the builder's own logger warns of.
logger = logging.getLogger("properdocs.hooks.site")


def on_post_page(output: str, page: Any, **_: Any) -> str:
    """Warn, and so fail, where a page would load something from elsewhere or has an address that is none."""
    if LOADED.search(output):
        logger.warning("%s loads something from another host", page.file.src_path)
    for address in LINK.findall(output):
        if not well_formed(address):
            logger.warning("%s links to %r, which is no address", page.file.src_path, address)
    return output


def on_post_build(config: Any) -> None:
    """List the links that leave the site: the build has no network, so a person looks at them."""
    found: set[str] = set()
    for file in Path(config["site_dir"]).rglob("*.html"):
        found |= set(LINK.findall(file.read_text()))
    outside = sorted(link for link in found if not EXAMPLES.search(urlsplit(link).hostname or ""))
    (Path(config["site_dir"]) / "links.txt").write_text("".join(f"{link}\n" for link in outside))


def well_formed(address: str) -> bool:
    """An address with a host that could be one."""
    try:
        parts = urlsplit(address)
        host, _port = parts.hostname or "", parts.port
    except ValueError:
        return False
    return bool(re.fullmatch(r"[A-Za-z0-9.-]+", host)) and ("." in host or host == "localhost")
