"""The monitor's feed for Python programs: iterate over events; it resumes by itself (docs/feed.md).

    from windsock_client import Feed, Reset

    for item in Feed("https://windsock.example.com", token="wst_…", type=["airflow.dag_run.*"]):
        ...

Standard library only.
"""

from windsock_client.errors import FeedError, FeedRefused
from windsock_client.feed import Feed
from windsock_client.records import Event, Reset

__version__ = "0.1.0"

__all__ = ["Event", "Feed", "FeedError", "FeedRefused", "Reset"]
