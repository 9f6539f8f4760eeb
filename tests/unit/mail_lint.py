"""What HTML has to be like for mail programs: each rule with the program that needs it.

Beside these, @jsx-email/doiuse-email (npm; the data of caniemail.com) finds nothing in the templates that
Gmail, Apple Mail or Samsung Email lack. What Outlook for Windows lacks costs looks alone: rounded corners,
fixed columns, the rules for phones and for the dark.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from html.parser import HTMLParser

MAX_STYLE = 8_192  # characters: Gmail drops a longer <style>
MAX_WIDTH = 600  # what every program's reading pane shows
VOID = {"meta", "br", "img", "hr", "input", "link"}
FORBIDDEN = {
    "script",
    "link",
    "iframe",
    "object",
    "embed",
    "form",
    "input",
    "svg",
    "video",
    "audio",
    "base",
}
"""Dropped everywhere, or a reason to be taken for spam."""
ALLOWED_STYLES = {
    *("margin", "padding", "width", "max-width", "height", "max-height", "table-layout"),
    *("font-family", "font-size", "font-weight", "line-height", "letter-spacing", "color"),
    *("background", "border", "border-top", "border-radius", "border-collapse"),
    *("text-align", "text-decoration", "text-transform", "word-break", "word-wrap"),
    *("display", "overflow", "mso-hide"),
}
"""So no position, float, flex, grid, background-image: Outlook for Windows, or Gmail, know none of them."""
FONT = {"font-family", "font-size", "color"}
PLAIN = {"cellpadding", "cellspacing", "border"}
GROUNDS = ("td", "table")
LINK = re.compile(r"https?://")
COLOR = re.compile(r"#[0-9a-f]{6}|inherit")


@dataclass
class Element:
    tag: str
    attributes: dict[str, str]
    line: int
    text: str = ""

    @property
    def styles(self) -> dict[str, str]:
        pairs = (part.partition(":") for part in self.attributes.get("style", "").split(";") if part.strip())
        return {name.strip().lower(): value.strip() for name, _, value in pairs}


@dataclass
class Lint(HTMLParser):
    """Read one page; `mistakes` names each."""

    page: str
    mistakes: list[str] = field(default_factory=list)
    elements: list[Element] = field(default_factory=list)

    def __post_init__(self) -> None:
        super().__init__()
        self._open: list[Element] = []
        self._texts: list[tuple[tuple[Element, ...], str]] = []
        self.feed(self.page)
        self.mistakes += [
            *self._whole(),
            *(f"line {one.line}: {said}" for one in self.elements for said in _of_element(one)),
            *self._text(),
        ]

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        element = Element(tag, {name: value or "" for name, value in attrs}, self.getpos()[0])
        self.elements.append(element)
        if tag not in VOID:
            self._open.append(element)

    def handle_endtag(self, tag: str) -> None:
        if not self._open or self._open[-1].tag != tag:
            self.mistakes.append(f"line {self.getpos()[0]}: </{tag}> closes {self._open[-1:]}")
            return
        self._open.pop()

    def handle_data(self, data: str) -> None:
        for element in self._open:
            element.text += data
        if data.strip():
            self._texts.append((tuple(self._open), data.strip()))

    def _whole(self) -> Iterator[str]:
        tags = [one.tag for one in self.elements]
        style = "".join(one.text for one in self.elements if one.tag == "style")
        right = {
            "no doctype: browsers fall into quirks": self.page.startswith("<!DOCTYPE html>"),
            "html without lang: screen readers guess": bool(self.elements[0].attributes.get("lang")),
            "no title": any(one.tag == "title" and one.text.strip() for one in self.elements),
            "no charset": any(one.attributes.get("charset") == "utf-8" for one in self.elements),
            "a mail has one h1": tags.count("h1") == 1,
            f"never closed: {[one.tag for one in self._open]}": not self._open,
            "Gmail drops a style as long": len(style) <= MAX_STYLE,
            "something is loaded from elsewhere": not re.search(r"@import|url\(|expression\(", self.page),
        }
        yield from (said for said, is_right in right.items() if not is_right)

    def _text(self) -> Iterator[str]:
        """Text whose look no inline style says: programs that drop <style> show it in their own."""
        for ancestors, text in self._texts:
            tags = [one.tag for one in ancestors]
            if "body" not in tags or ancestors[-1].tag == "style":
                continue
            said = {name for one in ancestors[tags.index("body") + 1 :] for name in one.styles}
            hidden = any(one.styles.get("display") == "none" for one in ancestors)
            if not hidden and text != "\N{NO-BREAK SPACE}" and not said >= FONT:
                yield f"line {ancestors[-1].line}: {text[:30]!r} has no inline {sorted(FONT - said)}"


def _of_element(element: Element) -> Iterator[str]:
    tag, attributes, styles = element.tag, element.attributes, element.styles
    width, strange = attributes.get("width", ""), sorted(set(styles) - ALLOWED_STYLES)
    is_table, is_link = tag == "table", tag == "a"
    wrong = {
        f"<{tag}>": tag in FORBIDDEN,
        f"a handler on <{tag}>": any(name.startswith("on") for name in attributes),
        "a table that is read out as data": is_table and attributes.get("role") != "presentation",
        "a table with gaps of its own": is_table and not attributes.keys() >= PLAIN,
        "img without alt": tag == "img" and "alt" not in attributes,
        f"a link to {attributes.get('href')!r}": is_link and not LINK.match(attributes.get("href", "")),
        "a link without a text": is_link and not element.text.strip(),
        f"styles that mail programs do not share: {strange}": bool(strange),
        "a background without bgcolor": tag in GROUNDS
        and styles.keys() - attributes.keys() >= {"background"}
        and not attributes.keys() & {"bgcolor", "class"},
        f"a width of {width}": width.isdigit() and int(width) > MAX_WIDTH,
        f"the colour {styles.get('color')!r}": not COLOR.fullmatch(styles.get("color", "inherit")),
    }
    yield from (said for said, is_wrong in wrong.items() if is_wrong)
