"""Globs with * and ? and nothing else, as everywhere in Windsock; matched by case."""

import re
from collections.abc import Sequence
from fnmatch import translate
from functools import lru_cache

MAX_GLOB = 1500  # characters: an asset's URI, the longest name there is
COMPILED = 8192  # patterns kept: more than a file of the largest size holds

WILD = frozenset("*?")


def matches(glob: str, name: str) -> bool:
    return glob in ("*", name) or (not WILD.isdisjoint(glob) and _compiled(glob).match(name) is not None)


def matches_any(globs: Sequence[str], name: str) -> bool:
    return any(matches(glob, name) for glob in globs)


@lru_cache(COMPILED)
def _compiled(glob: str) -> re.Pattern[str]:
    """fnmatch writes patterns that never go back over a star, so that no glob takes exponential time. It
    knows [sets] besides; to us they are letters."""
    return re.compile(translate(glob.replace("[", "[[]")))
