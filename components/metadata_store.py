"""The SQLite file of ML Metadata, opened to record something or only to read."""

from __future__ import annotations

from pathlib import Path

from ml_metadata.metadata_store import MetadataStore
from ml_metadata.proto import metadata_store_pb2 as mlmd


def open_store(metadata: Path) -> MetadataStore:
    """The store in a file, which is made where it is missing."""
    connection = mlmd.ConnectionConfig()
    connection.sqlite.filename_uri = str(metadata)
    return MetadataStore(connection)


def read_store(metadata: Path) -> MetadataStore:
    """The same for who only reads: nothing is made or changed.

    Where the file is missing, as beside versions that were copied alone, the store knows nothing.
    """
    connection = mlmd.ConnectionConfig()
    if metadata.is_file():
        connection.sqlite.filename_uri = str(metadata)
        connection.sqlite.connection_mode = mlmd.SqliteMetadataSourceConfig.READONLY
    else:
        connection.fake_database.SetInParent()  # in memory
    return MetadataStore(connection)
