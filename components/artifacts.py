"""Artifacts as executors have them, and the artifact types of our own components.

The type name is the dotted path of the class and there are no properties: a pipeline that runs on
Kubeflow finds the class of an artifact by importing exactly that name.
"""

from tfx.types import artifact

Artifacts = dict[str, list[artifact.Artifact]]
"""What an executor gets or fills, by key."""


class Quarantine(artifact.Artifact):
    """Rows that ingestion set aside, and the counts of a whole ingestion.

    File structure below the URI:
      `rows-00000-of-00001.jsonl.gz`: a JSON object for each row with `file`, `row` (1 is the first
        below the header), `line` (null in Parquet), `reason`, `column` and `value` (cut, and empty
        where it might be a user id that is kept secret).
      `summary.json`: read it with `components.ingestion.summary.read_summary`.
    """

    TYPE_NAME = "components.artifacts.Quarantine"
