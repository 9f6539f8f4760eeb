"""Scripts, styles and pictures, under an address that changes with their content: `/static/<version>/…`.

Scripts import each other by relative paths, so the version is one of all files together, and a browser keeps
each of them for good. Pages and files of two releases meet while replicas are replaced one by one: any
version is answered, and only the one that is served here is kept.
"""

import hashlib
import re
from functools import lru_cache
from pathlib import Path

from starlette.responses import Response
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

VERSION_DIGITS = 16
VERSION = re.compile(rf"[0-9a-f]{{{VERSION_DIGITS}}}")
FOR_GOOD = "public, max-age=31536000, immutable"  # a year, the longest that caches take for a promise
ASK_FIRST = "no-cache"  # kept, and asked for by its ETag


@lru_cache(maxsize=1)
def version_of(directory: Path) -> str:
    """Of all files together, as they are when the first page is made."""
    digest = hashlib.sha256()
    for file in sorted(path for path in directory.rglob("*") if path.is_file()):
        digest.update(file.relative_to(directory).as_posix().encode())
        digest.update(hashlib.sha256(file.read_bytes()).digest())
    return digest.hexdigest()[:VERSION_DIGITS]


class VersionedFiles(StaticFiles):
    def __init__(self, directory: Path) -> None:
        super().__init__(directory=directory)
        self._version = version_of(directory)

    async def get_response(self, path: str, scope: Scope) -> Response:
        version, _, rest = path.partition("/")
        answer = await super().get_response(rest if VERSION.fullmatch(version) else path, scope)
        answer.headers["Cache-Control"] = FOR_GOOD if version == self._version else ASK_FIRST
        return answer
