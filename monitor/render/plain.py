"""The mail that needs no template: when all templates fail, it tells the facts and why it looks like this."""

from collections.abc import Iterator
from datetime import tzinfo

from markupsafe import escape

from monitor.plain_text import line
from monitor.render.letter import Written
from monitor.render.marks import mark_of
from monitor.render.moments import told, when
from monitor.render.story import Story
from monitor.render.words import shortened, span

SHOWN = 30  # happenings, facts and tasks
PAGE = (
    '<!DOCTYPE html><html lang="en"><head><meta charset="utf-8"><title>Windsock</title></head>'
    '<body><pre style="white-space:pre-wrap;">{text}</pre></body></html>'
)
LENGTH = 1_000  # characters of a line: the facts are bounded, and this holds where one is not


def plainly(story: Story, zone: tzinfo, url: str, problem: str) -> Written:
    what = f"{story.dag_id}: {story.run.state}" if story.run else story.subject
    facts = [shortened(fact, LENGTH) for fact in _facts(story, zone)]
    facts += ["", url, "", line(f"This mail is plain because its template failed: {problem}")]
    text = "\n".join(facts) + "\n"
    return Written(f"{mark_of(story.event_type)} {what}", text, PAGE.format(text=escape(text)))


def _facts(story: Story, zone: tzinfo) -> Iterator[str]:
    yield f"{story.event_type} of {story.subject}" + (" (unconfirmed)" if story.unconfirmed else "")
    yield f"Deployment {story.deployment}, {when(story.at, zone)}"
    if story.watch:
        yield story.watch.what
    if run := story.run:
        yield f"DAG {run.dag_id}: {run.state}"
        yield f"Run {run.run_id}"
        began = when(run.start or run.queued_at, zone)
        yield f"Began {began}, ended {when(run.end, zone)}, took {span(run.duration)}"
    failed = story.failed or ((story.task,) if story.task else ())
    for task in failed[:SHOWN]:
        yield f"Task {task.name} {task.state}: {task.error.headline if task.error else ''}"
    if trouble := story.import_error:
        yield f"File {trouble.filename}: {trouble.error.headline}"
    if since := story.incident:
        yield f"{since.title}, since {when(since.opened_at, zone)}, failures: {since.failures}"
    for fact in story.facts[:SHOWN]:
        yield f"{fact.label}: {told(fact.value, zone)}"
    for happening in story.events[-SHOWN:]:
        yield f"{happening.mark} {when(happening.at, zone)} {happening.subject}: {happening.what}"
