"""Where Kubeflow's launcher puts what a URI of an object store names.

It downloads a task's inputs below `/minio`, `/s3` or `/gcs`, and uploads what the task wrote there
under the paths of its outputs (LocalPathForURI in kubeflow/pipelines,
backend/src/v2/component/launcher_v2.go). On Vertex `/gcs` is a mount of all buckets.
"""

from __future__ import annotations

import os
from typing import Final

MOUNTS: Final = "DEBUT_OBJECT_STORES"
"""Environment variable: the folder above those three, where it is not the root folder."""

_FOLDERS: Final = {"minio://": "minio", "s3://": "s3", "gs://": "gcs"}


def local_path(uri: str) -> str:
    """The path that a task reads or writes; what is no URI of an object store stays as it is."""
    for scheme, folder in _FOLDERS.items():
        if uri.startswith(scheme):
            return f"{_above()}/{folder}/{uri.removeprefix(scheme)}"
    return uri


def remote_uri(path: str) -> str:
    """The URI behind such a path: what may leave the task."""
    for scheme, folder in _FOLDERS.items():
        start = f"{_above()}/{folder}/"
        if path.startswith(start):
            return scheme + path.removeprefix(start)
    return path


def _above() -> str:
    return os.environ.get(MOUNTS, "").rstrip("/")
