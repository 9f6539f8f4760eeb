"""Events as mails for people: the facts, the templates, the message."""

from monitor.render.choice import TEMPLATES, choose, usual
from monitor.render.folder import templates_folder
from monitor.render.letter import Letter
from monitor.render.renderer import Rendered, Renderer, TemplateInfo
from monitor.render.story import (
    Asset,
    Change,
    Error,
    Fact,
    Happening,
    ImportTrouble,
    Metric,
    Past,
    Run,
    Since,
    Story,
    Task,
    Value,
    Watch,
)

__all__ = [
    "TEMPLATES",
    "Asset",
    "Change",
    "Error",
    "Fact",
    "Happening",
    "ImportTrouble",
    "Letter",
    "Metric",
    "Past",
    "Rendered",
    "Renderer",
    "Run",
    "Since",
    "Story",
    "Task",
    "TemplateInfo",
    "Value",
    "Watch",
    "choose",
    "templates_folder",
    "usual",
]
