"""`windsock preview`: every template as it looks, with a made-up story, in a folder or in the terminal."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from monitor.errors import SettingsError
from monitor.render.renderer import Renderer

Say = Callable[[str], None]


@dataclass(frozen=True)
class Preview:
    """What was written of one template."""

    name: str
    subject: str
    problem: str | None
    files: tuple[Path, ...] = ()


def preview(renderer: Renderer, template: str | None, out: Path | None, text: bool, say: Say) -> bool:
    """Show one template, or all. `out`: the folder for their HTML and text; None, or `text`: say the text.

    Answers whether every template could be used as it is. Raises SettingsError for a name that is none.
    """
    previews = list(_previews(renderer, template, out))
    for one in previews:
        if text or out is None:
            say(f"Subject: {one.subject}\n\n{renderer.preview(one.name).text}")
        if one.problem:
            say(f"{one.name}: {one.problem}")
        elif one.files:
            say(f"{one.name}: {', '.join(map(str, one.files))}")
    return all(one.problem is None for one in previews)


def _previews(renderer: Renderer, template: str | None, out: Path | None) -> Iterator[Preview]:
    known = [info.name for info in renderer.templates()]
    if template is not None and template not in known:
        raise SettingsError(f"there is no template {template!r}: write one of {', '.join(known)}")
    for name in known if template is None else [template]:
        mail = renderer.preview(name)
        files = _write(out, name, mail.text, mail.html) if out else ()
        yield Preview(name, mail.subject, mail.problem, files)


def _write(folder: Path, name: str, text: str, html: str) -> tuple[Path, ...]:
    folder.mkdir(parents=True, exist_ok=True)
    files = folder / f"{name}.html", folder / f"{name}.txt"
    for file, content in zip(files, (html, text), strict=True):
        file.write_text(content, encoding="utf-8")
    return files
