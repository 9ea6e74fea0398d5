"""The component in a real TFX pipeline: MLMD, cache, and a stock reader of its Examples."""

import pytest
import tensorflow_data_validation as tfdv
from ml_metadata import metadata_store
from ml_metadata.proto import metadata_store_pb2
from tfx.components import StatisticsGen
from tfx.dsl.components.base import executor_spec
from tfx.orchestration import metadata
from tfx.orchestration.local.local_dag_runner import LocalDagRunner
from tfx.orchestration.pipeline import Pipeline
from tfx.types import artifact_utils

from components.artifacts import Quarantine
from components.ingestion.component import DataFolderExampleGen
from components.ingestion.folder import fingerprint, open_folder
from components.ingestion.summary import read_summary
from models.errors import BadInput
from tests.components.ingestion.helpers import (
    IN_MEMORY,
    data_options,
    read_quarantine,
    write_csv,
    write_shop,
)

COMPLETE = metadata_store_pb2.Execution.COMPLETE
CACHED = metadata_store_pb2.Execution.CACHED
FAILED = metadata_store_pb2.Execution.FAILED


class Shop:
    """A data folder with a pipeline and its metadata."""

    def __init__(self, root):
        self.root = root
        self.folder = write_shop(root / "shop")
        self.connection = metadata.sqlite_metadata_connection_config(str(root / "metadata.db"))

    def run(self, *, statistics=False, **options):
        generator = DataFolderExampleGen(
            data=str(self.folder),
            options=data_options(**options),
            fingerprint=fingerprint(open_folder(self.folder)),
        )
        readers = [
            StatisticsGen(examples=generator.outputs[key]).with_id(f"Statistics.{key}")
            for key in ("catalogue", "interactions")
        ]
        LocalDagRunner().run(
            Pipeline(
                pipeline_name="shop",
                pipeline_root=str(self.root / "runs"),
                metadata_connection_config=self.connection,
                components=[generator, *(readers if statistics else [])],
                beam_pipeline_args=IN_MEMORY,
                enable_cache=True,
            )
        )

    @property
    def store(self):
        return metadata_store.MetadataStore(self.connection)

    @property
    def states(self):
        kind = "components.ingestion.component.DataFolderExampleGen"
        return [run.last_known_state for run in self.store.get_executions_by_type(kind)]

    def artifacts(self, type_name):
        return self.store.get_artifacts_by_type(type_name)


@pytest.fixture(scope="module")
def shop(tmp_path_factory):
    """The tests below run it one after the other."""
    return Shop(tmp_path_factory.mktemp("tfx"))


def test_stock_components_read_the_examples_and_the_cache_follows_the_data(shop):
    shop.run(statistics=True, max_quarantined_share=0.25)
    catalogue, interactions = sorted(shop.artifacts("Examples"), key=lambda a: a.uri)
    assert artifact_utils.decode_split_names(catalogue.properties["split_names"].string_value) == [
        "all"
    ]
    assert artifact_utils.decode_split_names(
        interactions.properties["split_names"].string_value
    ) == ["train", "eval", "new_items"]
    for examples in (catalogue, interactions):
        properties = {k: v.string_value for k, v in examples.custom_properties.items()}
        assert properties["payload_format"] == "FORMAT_TF_EXAMPLE"
        assert properties["file_format"] == "tfrecords_gzip"

    counts = {}
    for statistics in shop.artifacts("ExampleStatistics"):
        for split in artifact_utils.decode_split_names(
            statistics.properties["split_names"].string_value
        ):
            path = f"{statistics.uri}/Split-{split}/FeatureStats.pb"
            (dataset,) = tfdv.load_stats_binary(path).datasets
            counts[split] = (dataset.num_examples, {f.path.step[0] for f in dataset.features})
    sizes = {split: count for split, (count, _) in counts.items()}
    assert sizes == {"all": 3, "train": 5, "eval": 0, "new_items": 0}
    assert {"title", "interactions"} <= counts["all"][1]
    assert {"history", "history_rating", "profile"} <= counts["train"][1]

    (quarantine,) = shop.artifacts(Quarantine.TYPE_NAME)
    assert read_summary(quarantine.uri).splits == {"train": 5, "eval": 0, "new_items": 0}

    shop.run(max_quarantined_share=0.25)
    assert shop.states == [COMPLETE, CACHED]


def refuse(shop, *prices):
    """Runs with prices of which too many are none; gives the folder of the refused rows."""
    items = [(item, item.upper(), price) for item, price in zip("abc", prices, strict=True)]
    write_csv(shop.folder / "items.csv", "item_id,title,price", *items)
    with pytest.raises(BadInput, match=r"items\.csv.*price: not a number") as caught:
        shop.run(max_quarantined_share=0.25)
    folder = shop.root / "runs" / "DataFolderExampleGen" / "quarantine" / "refused"
    assert str(caught.value).endswith(f"What was set aside lies in {folder}.")
    return folder


def test_changed_data_is_not_taken_from_the_cache_and_an_error_keeps_its_type(shop):
    written = set((shop.root / "runs").rglob("*.gz"))
    folder = refuse(shop, "x", 1, 1)
    assert shop.states == [COMPLETE, CACHED, FAILED]
    # What was written before the check is gone, but for the rows that the message tells of.
    assert len(shop.artifacts("Examples")) == 2
    found = set((shop.root / "runs").rglob("*.gz"))
    assert found - written == set(folder.iterdir()) and written <= found


def test_rows_of_the_newest_refusal_alone_are_kept(shop):
    folder = refuse(shop, 1, "y", "z")
    rows = [row for row in read_quarantine(folder) if row["file"] == "items.csv"]
    assert sorted((row["row"], row["value"]) for row in rows) == [(2, "y"), (3, "z")]


def test_constructing_the_component_reads_nothing():
    component = DataFolderExampleGen(data="nowhere", options=data_options(), fingerprint="f")
    assert isinstance(component.executor_spec, executor_spec.BeamExecutorSpec)
    assert set(component.outputs) == {"catalogue", "interactions", "quarantine"}
    assert component.exec_properties["fingerprint"] == "f"


def test_artifact_type_can_be_found_by_its_name():
    # What the Kubeflow runner asks of a type that is not TFX's own.
    assert f"{Quarantine.__module__}.{Quarantine.__qualname__}" == Quarantine.TYPE_NAME
    assert not Quarantine.PROPERTIES
