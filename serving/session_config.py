"""How the sessions of whatever serves Debut's models are set up: a file for the stock flag."""

from __future__ import annotations

from pathlib import Path
from typing import Final

FILE: Final = Path(__file__).with_name("session.config")
FLAG: Final = "--tensorflow_session_config_file"
