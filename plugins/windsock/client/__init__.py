"""The monitor's feed for Python programs: iterate over events; it resumes by itself (docs/feed.md).

    from windsock.client import Feed, Reset

    for item in Feed("https://windsock.example.com", token="wst_…", type=["airflow.dag_run.*"]):
        ...

Standard library only, and no part of what Airflow loads: nothing else in this package imports it.
"""

from windsock.client.errors import FeedError, FeedRefused
from windsock.client.feed import Feed
from windsock.client.records import Event, Reset

__all__ = ["Event", "Feed", "FeedError", "FeedRefused", "Reset"]
