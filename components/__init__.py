"""Debut's own TFX components; importing `models` first selects Keras 2 in every worker."""

import models as models
