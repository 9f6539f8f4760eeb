"""An event as one line for a terminal."""

from datetime import date

from rich.text import Text

from monitor.plain_text import line
from monitor.tail.messages import RESET, Message, local_time
from monitor.web.event_line import EventLine

SIGNS = {
    "success": ("✔", "green"),
    "failed": ("✖", "bold red"),
    "import_error": ("✖", "bold red"),
    "mended": ("✔", "green"),
    "deleted": ("∅", "dim"),
    "paused": ("‖", "yellow"),
    "unpaused": ("▷", "blue"),
    "running": ("▶", "blue"),
    "up_for_retry": ("↻", "yellow"),
    "upstream_failed": ("▲", "yellow"),
    "skipped": ("»", "dim"),
    "updated": ("■", "magenta"),
    "created": ("■", "magenta"),
}
"""A sign and a colour for each state: the sign says it where there is no colour."""


def render(message: Message) -> Text:
    """One line for a terminal: when, the state, who, and what was said."""
    if message.type == RESET:
        return Text(f"--:--:--  events may have been missed: {line(message.data['reason'])}", "bold red")
    event = EventLine.read(0, message.data)
    sign, style = SIGNS.get(event.word, ("·", ""))
    text = Text.assemble(
        (f"{local_time(event.time):%H:%M:%S}  ", "dim"),
        (f"{sign} {line(event.word):<16}", style),
        (line(" / ".join(part for part in (event.dag_id, event.run_id, event.task) if part)), "bold")
        if event.dag_id and event.kind != "asset"
        else (line(event.subject), "bold"),
    )
    return text.append(f"  {line(event.detail)}") if event.detail else text


class Days:
    """The day above the first line of each day, as the lines show the time alone. Today needs none."""

    def __init__(self, today: date) -> None:
        self._shown = today

    def above(self, message: Message) -> Text | None:
        if message.type == RESET:
            return None
        day = local_time(message.data["time"]).date()
        if day == self._shown:
            return None
        self._shown = day
        return Text(f"── {day:%A %Y-%m-%d} ──", "dim")
