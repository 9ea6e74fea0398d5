"""Debut's own TFX components; importing `models` first selects Keras 2 in every worker."""

import models as models


def __getattr__(name: str) -> object:
    """`Quarantine`, which Kubeflow's containers look for here; see `kubeflow.tfx_compiler`.

    It is imported when it is asked for, because importing TFX takes seconds.
    """
    if name == "Quarantine":
        from components.artifacts import Quarantine

        return Quarantine
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
