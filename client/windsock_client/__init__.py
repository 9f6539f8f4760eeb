"""The client of the monitor's feed: an iterator of events that resumes after an interruption.

    from windsock_client import Feed, Reset

    for item in Feed("https://windsock.example.com", token="wst_…", type=["airflow.dag_run.*"]):
        ...

docs/feed.md describes the feed. The package needs only the standard library."""

from windsock_client.errors import FeedError, FeedRefused, FeedUnavailable
from windsock_client.feed import Feed
from windsock_client.records import Event, Reset

__version__ = "0.1.0"

__all__ = ["Event", "Feed", "FeedError", "FeedRefused", "FeedUnavailable", "Reset"]
