"""Who is notified: the rules file, read and in force (docs/rules.md)."""

from monitor.rules.defaults import default_config
from monitor.rules.editors import json_schema
from monitor.rules.facts import Facts
from monitor.rules.live import LiveRules
from monitor.rules.loading import load_config
from monitor.rules.matching import mismatch
from monitor.rules.mistakes import Mistake, RulesError
from monitor.rules.model import Budget, Config, Match, Receiver, Rule, Watch
from monitor.rules.routing import Routed
from monitor.rules.ruleset import Rules
from monitor.rules.targets import Channel, Resolved, Target

__all__ = [
    "Budget",
    "Channel",
    "Config",
    "Facts",
    "LiveRules",
    "Match",
    "Mistake",
    "Receiver",
    "Resolved",
    "Routed",
    "Rule",
    "Rules",
    "RulesError",
    "Target",
    "Watch",
    "default_config",
    "json_schema",
    "load_config",
    "mismatch",
]
