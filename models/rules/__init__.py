"""Rules that no model can override: the file that states them, and what it means for each item.

The file is checked before anything is computed, and becomes columns of the shelf.
`models.export.ruled` applies them in the graph.
"""

from models.rules.bearing import RuleCount, count_rules, require_something
from models.rules.columns import NO_GROUP, Ruled, on_day, rule
from models.rules.file import read_rules
from models.rules.form import CapRule, Rules
from models.rules.names import Goods

__all__ = [
    "NO_GROUP",
    "CapRule",
    "Goods",
    "RuleCount",
    "Ruled",
    "Rules",
    "count_rules",
    "on_day",
    "read_rules",
    "require_something",
    "rule",
]
