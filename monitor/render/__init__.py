"""Events as mails for people: the facts, the templates, the message."""

from monitor.render.folder import templates_folder
from monitor.render.renderer import Letter, Rendered, Renderer
from monitor.render.story import Asset, Error, Fact, Run, Story, Task

__all__ = [
    "Asset",
    "Error",
    "Fact",
    "Letter",
    "Rendered",
    "Renderer",
    "Run",
    "Story",
    "Task",
    "templates_folder",
]
