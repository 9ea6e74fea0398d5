"""Runs the ingestion pipeline and lets its outputs stand only if every row is accounted for."""

import logging
import os
from pathlib import Path
from typing import Any

import apache_beam as beam
from tfx import types
from tfx.components.util import examples_utils
from tfx.dsl.components.base import base_beam_executor
from tfx.dsl.io import fileio
from tfx.proto import example_gen_pb2
from tfx.types import artifact_utils

from components.accounting import note_rows
from components.artifacts import Artifacts
from components.ingestion.folder import open_folder
from components.ingestion.join import CATALOGUE
from components.ingestion.options import DataOptions, read_pseudonym_key
from components.ingestion.refused import keep_rows
from components.ingestion.summary import (
    IngestionSummary,
    check_accounting,
    check_quarantine,
    read_counts,
    summarise,
    write_summary,
)
from components.ingestion.tfrecords import WriteExamples
from components.ingestion.transforms import COUNTS, QUARANTINE, Ingest
from components.object_stores import remote_uri
from models.errors import BadInput
from models.features import ALL, EVAL, NEW_ITEMS, TRAIN
from models.garbage import seldom_collected

_LOGGER = logging.getLogger(__name__)
_INTERACTION_SPLITS = (TRAIN, EVAL, NEW_ITEMS)


class Executor(base_beam_executor.BaseBeamExecutor):
    """Executor of `DataFolderExampleGen`."""

    def Do(
        self, input_dict: Artifacts, output_dict: Artifacts, exec_properties: dict[str, Any]
    ) -> None:
        """Ingests the folder `data` into the output artifacts.

        Raises:
          BadInput: the folder can't be used, or too many of its rows were set aside; the message
            then says where to look into them.
          DebutError: rows were lost on the way.
          Any error makes TFX remove the outputs.
        """
        self._log_startup(input_dict, output_dict, exec_properties)
        options = DataOptions.model_validate_json(exec_properties["options"])
        folder = open_folder(exec_properties["data"])
        key = read_pseudonym_key(options)
        catalogue = artifact_utils.get_single_instance(output_dict["catalogue"])
        interactions = artifact_utils.get_single_instance(output_dict["interactions"])
        quarantine = artifact_utils.get_single_instance(output_dict["quarantine"])
        for examples, splits in ((catalogue, (ALL,)), (interactions, _INTERACTION_SPLITS)):
            _describe(examples, splits, span=folder.span)

        counts = os.path.join(quarantine.uri, "counts.jsonl")
        with seldom_collected(), self._make_beam_pipeline() as pipeline:
            results = pipeline | Ingest(folder, options, key)
            _write_examples(results[CATALOGUE], catalogue, ALL)
            for split in _INTERACTION_SPLITS:
                _write_examples(results[split], interactions, split)
            _ = results[QUARANTINE] | "WriteQuarantine" >> beam.io.WriteToText(
                os.path.join(quarantine.uri, "rows"), file_name_suffix=".jsonl.gz"
            )
            _ = results[COUNTS] | "WriteCounts" >> beam.io.WriteToText(
                counts, num_shards=1, shard_name_template=""
            )

        tallies, scale = read_counts(counts)
        fileio.remove(counts)
        summary = summarise(folder, tallies=tallies, scale=scale)
        check_accounting(summary)
        try:
            check_quarantine(summary, options.max_quarantined_share)
        except BadInput as refusal:
            raise BadInput(f"{refusal} {_where_to_look(quarantine.uri)}") from refusal
        write_summary(quarantine.uri, summary)
        note_rows(catalogue, {ALL: summary.items})
        note_rows(interactions, summary.splits)
        _log(summary)


def _where_to_look(quarantine: str) -> str:
    if remote_uri(quarantine) != quarantine:
        return (
            "Of a task that failed nothing is uploaded: `debut run` with this data folder and "
            "these options leaves what was set aside where it can be looked into."
        )
    kept = keep_rows(Path(quarantine), "rows-*.jsonl.gz")
    return f"What was set aside lies in {kept}."


def _describe(examples: types.Artifact, splits: tuple[str, ...], *, span: int) -> None:
    """Sets what readers of an Examples artifact go by, as the stock ExampleGen does."""
    examples.split_names = artifact_utils.encode_split_names(list(splits))
    examples.span = span
    examples_utils.set_payload_format(examples, example_gen_pb2.FORMAT_TF_EXAMPLE)
    examples_utils.set_file_format(examples, "tfrecords_gzip")


def _write_examples(batches: beam.PCollection, examples: types.Artifact, split: str) -> None:
    """Writes a split.

    The stock ExampleGen reshuffles here, between the tallies and the file, where a runner could
    lose rows unnoticed. So the rows of a user lie together; shuffle them for training.
    """
    uri = artifact_utils.get_split_uri([examples], split)
    _ = batches | f"Write[{split}]" >> WriteExamples(uri)


def _log(summary: IngestionSummary) -> None:
    for file in summary.files:
        _LOGGER.info(
            "%s: %d rows read, %d taken in, %d replaced, %d set aside",
            file.name,
            file.read,
            file.emitted,
            file.replaced,
            file.quarantined,
        )
    _LOGGER.info("Interactions by split: %s", summary.splits)
