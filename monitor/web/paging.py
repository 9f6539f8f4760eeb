"""Pages of lists: the rows that were asked for, and where the next page begins."""

from collections.abc import Callable, Sequence
from typing import Annotated, Any, TypeVar
from urllib.parse import urlencode

from fastapi import Depends, Request, Response

MAX_LINK = 2_000  # characters: proxies buffer 4 kB of headers, and refuse an answer that has more

T = TypeVar("T")


class Pager:
    """Cuts what was read to a page. Read one row more than the page holds: it tells whether more follow."""

    def __init__(self, request: Request, response: Response) -> None:
        self._request = request
        self._response = response

    def page(self, name: str, rows: Sequence[T], limit: int, place: Callable[[T], int]) -> dict[str, Any]:
        """The answer, under the list's name; `place` is what a row is found by as a cursor."""
        shown = rows[:limit]
        return self.cut(name, shown, place(shown[-1]) if len(rows) > limit else None)

    def cut(self, name: str, rows: Sequence[Any], following: int | None) -> dict[str, Any]:
        """The answer for rows that are a page already, and where the next begins."""
        if following is not None:
            self._link(following)
        return {name: rows, "next": following}

    def _link(self, cursor: int) -> None:
        """RFC 8288. The address is relative, so that it is right behind every proxy."""
        asked = [pair for pair in self._request.query_params.multi_items() if pair[0] != "cursor"]
        link = f'<?{urlencode([*asked, ("cursor", cursor)])}>; rel="next"'
        if len(link) <= MAX_LINK:
            self._response.headers["Link"] = link


Paging = Annotated[Pager, Depends(Pager)]
"""The parameter type of a handler that answers a list."""
