"""Log lines that belong together can be found together: what a line is about (a request, a delivery, a run)
stands in it, whoever writes it.
"""

from monitor.logs.context import bind, bound, request_id
from monitor.logs.setup import configure

__all__ = ["bind", "bound", "configure", "request_id"]
