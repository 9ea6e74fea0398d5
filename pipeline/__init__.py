"""Configuration, the pipeline definition, runners and the command line."""

import models as models
