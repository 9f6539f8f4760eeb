"""What templates say of assets: their address, their age, and what an update told."""

from collections.abc import Collection, Mapping
from datetime import datetime
from typing import Any
from urllib.parse import quote, urlencode

from markupsafe import Markup

from monitor.events import stamp
from monitor.events.durations import spoken
from monitor.web.event_line import metrics


def asset_url(asset: Any) -> str:
    """The address of an asset's page, from a row or a record that names one. Its URI holds slashes, `?` and
    `#`, which proxies mend in a path and leave alone in a query."""
    named = asset if isinstance(asset, Mapping) else vars(asset)
    return f"/assets/{quote(named['deployment'], safe='')}?{urlencode({'uri': named['uri']})}"


def age(value: datetime) -> Markup:
    """How old something is; the page's script counts on."""
    told = Markup('<time class="elapsed" datetime="{}">since {}</time>')
    return told.format(stamp(value), f"{value:%Y-%m-%d %H:%M:%S} UTC")


def numbers(extra: Mapping[str, Any] | None) -> str:
    """The metrics of an asset's update in a line."""
    return metrics(extra or {})


def besides(extra: Mapping[str, Any], names: Collection[str]) -> dict[str, Any]:
    """What was told that has no column of its own."""
    return {name: value for name, value in extra.items() if name not in names}


FILTERS = {function.__name__: function for function in (age, numbers, besides, spoken)}
