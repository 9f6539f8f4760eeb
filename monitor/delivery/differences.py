"""What a run has otherwise than the last good one: the first suspects."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any

from monitor.delivery.history import PastRun
from monitor.delivery.masks import MASK, looks_secret, shown
from monitor.render import Change
from monitor.render.words import shortened

MAX_CHANGES = 12
KEY_LENGTH = 60
VALUE_LENGTH = 80
SHA_LENGTH = 12  # digits of a bundle's version that tell it from another
DEPTH = 3  # of objects in conf whose keys are told apart
MUCH = 1.15  # times as long: less is no difference

Pair = tuple[Any, Any]


def changes_of(this: PastRun, good: PastRun) -> tuple[tuple[Change, ...], int]:
    """The changes, and how many more there are."""
    found = [*_duration(this, good), *_plain(this, good), *_conf(this, good)]
    return tuple(found[:MAX_CHANGES]), max(0, len(found) - MAX_CHANGES)


def _duration(this: PastRun, good: PastRun) -> Iterator[Change]:
    now, before = this.run.duration, good.run.duration
    if now is not None and before is not None:
        yield Change("Took", before, now, factor(now, before))


def factor(now: timedelta, before: timedelta) -> str:
    """×1.9, where it is worth a word."""
    if before <= timedelta(0) or now <= timedelta(0):
        return ""
    times = now / before
    if 1 / MUCH < times < MUCH:
        return ""
    return f"×{times:.0f}" if times >= 10 else f"×{times:.1f}" if times >= 0.1 else f"×{times:.2g}"


def _plain(this: PastRun, good: PastRun) -> Iterator[Change]:
    pairs: dict[str, Pair] = {
        "DAG version": (good.version, this.version),
        "Bundle version": (_sha(good.bundle_version), _sha(this.bundle_version)),
        "Type": (good.run.run_type, this.run.run_type),
        "Started by": (good.by, this.by),
    }
    for label, (before, now) in pairs.items():
        if before is not None and now is not None and before != now:
            yield Change(label, _short(str(before)), _short(str(now)))


def _conf(this: PastRun, good: PastRun) -> Iterator[Change]:
    if this.conf is None or good.conf is None:
        return
    before, now = dict(_leaves(good.conf)), dict(_leaves(this.conf))
    for key in sorted({*before, *now}):
        if key in before and key in now and before[key] == now[key]:
            continue
        note = "new" if key not in before else "gone" if key not in now else ""
        change = Change(f"conf.{shortened(key, KEY_LENGTH)}", _value(key, before), _value(key, now), note)
        # Two masked values look the same.
        yield replace(change, note="changed") if not note and change.before == change.now else change


def _leaves(conf: Mapping[str, Any], path: str = "", depth: int = 1) -> Iterator[tuple[str, Any]]:
    for key, value in conf.items():
        name = f"{path}{key}"
        # What stands below a key that looks secret is as secret.
        if isinstance(value, Mapping) and value and depth < DEPTH and not looks_secret(str(key)):
            yield from _leaves(value, f"{name}.", depth + 1)
        else:
            yield name, value


def _value(key: str, conf: Mapping[str, Any]) -> str | None:
    if key not in conf:
        return None
    return MASK if looks_secret(key) else _short(shown(conf[key]))


def _sha(version: str | None) -> str | None:
    return version[:SHA_LENGTH] if version else None


def _short(text: str) -> str:
    return shortened(text, VALUE_LENGTH)
