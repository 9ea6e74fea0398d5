"""What every test stands on: Keras 2, quiet TensorFlow, property tests without a clock."""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import models as models  # isort: skip  # selects Keras 2 before anything imports TensorFlow
from hypothesis import settings

# A slow machine is no counterexample, and CI must give the same verdict twice.
settings.register_profile("debut", deadline=None, derandomize="CI" in os.environ)
settings.load_profile("debut")
