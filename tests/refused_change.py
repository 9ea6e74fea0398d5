"""A change of a version whose gate refuses it, by what a server answers of the changed one."""

from models.errors import Refused
from tests.serving.saved_models import save_shop


def refused_change(*_, candidate, **__):
    """In place of an `update`: saves the tests' small shop, and refuses it with its lists."""
    save_shop(str(candidate.parent), candidate.name)
    return None, _refuse


def _refuse(answers):
    raise Refused(f"It lists {answers.lists(['ann'], 2)}.")
