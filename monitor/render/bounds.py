"""A story in ever fewer words: Gmail cuts off what is longer than its limit, and with it the last links."""

from collections.abc import Iterator
from dataclasses import replace

from monitor.render.story import Error, Story, Task

MAX_HTML = 100_000  # bytes; Gmail clips a mail behind about 102 kB
STEPS = ((20, 5, 60, 300), (10, 3, 40, 200), (5, 2, 20, 120), (2, 1, 8, 60))
"""Lines of an error, tasks whose error is shown, happenings, characters of a line: each time fewer."""


def tighter(story: Story) -> Iterator[Story]:
    """The story itself, and then with less and less of what is long."""
    yield story
    for lines, tasks, happenings, length in STEPS:
        left_out = max(0, len(story.events) - happenings)
        trouble = story.import_error
        yield replace(
            story,
            task=_task(story.task, lines, length) if story.task else None,
            failed=tuple(
                _task(task, lines if number < tasks else 0, length)
                for number, task in enumerate(story.failed)
            ),
            events=story.events[left_out:],
            earlier=story.earlier + left_out,
            import_error=replace(trouble, error=_error(trouble.error, lines, length)) if trouble else None,
            changes=story.changes[: happenings // 4],
            unlisted_changes=story.unlisted_changes + max(0, len(story.changes) - happenings // 4),
            assets=tuple(
                replace(asset, details=asset.details[:lines]) for asset in story.assets[:happenings]
            ),
        )


def _task(task: Task, lines: int, length: int) -> Task:
    return replace(task, error=_error(task.error, lines, length)) if task.error else task


def _error(error: Error, lines: int, length: int) -> Error:
    kept = error.lines[-lines:] if lines else ()
    return replace(error, message=error.message[: length * 2], lines=tuple(line[:length] for line in kept))
