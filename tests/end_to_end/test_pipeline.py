"""One shop through every TFX node: pushed, pushed again, refused, stopped. The runs are shared."""

import functools
import importlib.metadata
import io
import itertools
import json
import logging
import math
import os
import shutil
import subprocess
import sys
import threading
import time
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime, timezone
from pathlib import Path
from unittest import mock

import jsonschema
import numpy as np
import pytest
import tensorflow as tf
from click.testing import CliRunner
from ml_metadata.proto.metadata_store_pb2 import Event
from rich.console import Console
from tensorflow.python.tools import saved_model_utils
from tensorflow_serving.apis import prediction_log_pb2
from tfx.components import Evaluator, StatisticsGen, Transform
from werkzeug.test import Client as Http

from components import accounted
from components.accounting import note_rows, noted_rows
from components.catalogue import beam_describing, describing
from components.catalogue.update import Change
from components.metadata_store import open_store
from models.errors import BadInput, DebutError, Refused
from models.stability import stability_index
from pipeline.beam_profiles import beam_pipeline_args
from pipeline.catalogue import run_catalogue_pipeline, run_exploration_pipeline
from pipeline.cli import main
from pipeline.config import load_configuration
from pipeline.console.server import create_console
from pipeline.evaluation import read_rating_counts
from pipeline.layout import cards_folder, serving_folder
from pipeline.lock import alone
from pipeline.model_card import card_file
from pipeline.outcome import Outcome
from pipeline.pushed import read_terms
from pipeline.runner import run_pipeline
from serving.answers import Ranking
from serving.feedback.log import FeedbackLog
from tests.end_to_end.metadata import STATES, NewestRun
from tests.end_to_end.running import (
    embedded_server,
    small,
    wait_until_available,
)
from tests.end_to_end.shop import QUALITY, START, THEMES, Shop, write_shop
from tests.portable.protos import recorded, unportable
from tests.processes import running
from tests.signatures import CONTRACT
from tests.tiny_bert import write_tiny_bert

SLICES = {"overall": {b"seen", b"new"}, "seen": {b"seen"}, "new": {b"new"}}
# Ingestion, two statistics, two Transforms, Evaluator.
BEAM_NODES = 6
# Evaluator and `debut items add` call them in their own processes.
NEVER_SERVED = {"evaluate", "adapt_items", "describe_items"}
# Those of tensorflow_text 2.12, which the stock model server links.
TEXT_OPS = {
    "NormalizeUTF8",
    "RegexSplitWithOffsets",
    "WhitespaceTokenizeWithOffsetsV2",
    "WordpieceTokenizeWithOffsets",
}


@dataclass(frozen=True)
class Run:
    """What one run returned, printed and left in ML Metadata."""

    outcome: Outcome
    metadata: NewestRun
    lines: list[str]


@dataclass(frozen=True)
class Workplace:
    """Where the runs of this module happen."""

    shop: Shop
    encoder: Path
    root: Path

    @property
    def serving(self) -> Path:
        return serving_folder(self.root)

    def versions(self) -> list[str]:
        return sorted(path.name for path in self.serving.iterdir())

    def run(self, *settings: str, data: Path | None = None, override: str = "") -> Run:
        text = io.StringIO()
        config = load_configuration(
            None, [*small(data or self.shop.folder, self.encoder), *settings]
        )
        outcome = run_pipeline(
            config, root=self.root, console=Console(file=text, width=200), override=override
        )
        return Run(outcome, NewestRun(self.root), text.getvalue().splitlines())


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("place")
    return Workplace(write_shop(folder / "data"), write_tiny_bert(folder / "bert"), folder / "root")


@pytest.fixture(scope="module")
def protos():
    """What a cluster would be sent of each Beam pipeline of the first run."""
    return []


@pytest.fixture(scope="module")
def first(place, protos):
    with recorded() as found:
        run = place.run()
    protos += found
    return run


@pytest.fixture(scope="module")
def client(place, first):
    """A client of a server that is started after the first run and outlives all others."""
    with embedded_server(place.serving) as client:
        wait_until_available(client, int(first.outcome.version.name))
        yield client


@pytest.fixture(scope="module")
def second(place, first, client):
    """The same again."""
    return place.run()


@pytest.fixture(scope="module")
def answers(place, second, client):
    """Versions that answered while the third run went on, and the faults that clients saw."""
    wait_until_available(client, int(second.outcome.version.name))
    return []


@pytest.fixture(scope="module")
def third(place, second, client, answers):
    """An untrained model of two dimensions, which is honestly worse."""
    stop = threading.Event()

    def ask() -> None:
        while not stop.wait(0.2):
            try:
                (ranking,) = client.recommend(["u1"], k=3)
                answers.append(ranking.version)
            except Exception as error:  # a list that holds one fails the test
                answers.append(error)

    asking = threading.Thread(target=ask)
    asking.start()
    try:
        return place.run("training.steps=0", "model.embedding_size=2")
    finally:
        stop.set()
        asking.join()


def rollback(root, version, reason):
    return CliRunner().invoke(main, ["rollback", version, "--root", str(root), "--reason", reason])


@contextmanager
def another_run(root):
    """A run is under way, and ends when somebody says that he waits; yields whether it ended."""
    begun, awaited, ended = threading.Event(), threading.Event(), threading.Event()

    class Listener(logging.Handler):
        def emit(self, record):
            if "waiting for it" in record.getMessage():
                awaited.set()

    def hold():
        with alone(root):
            begun.set()
            if awaited.wait(600):
                ended.set()

    logger, listener, run = logging.getLogger("absl"), Listener(), threading.Thread(target=hold)
    logger.addHandler(listener)
    run.start()
    try:
        assert begun.wait(60)
        yield ended
    finally:
        awaited.set()
        run.join()
        logger.removeHandler(listener)


def pushed_versions(root):
    """What `debut versions` says."""
    return json.loads(CliRunner().invoke(main, ["versions", "--root", str(root), "--json"]).stdout)


def toolkit_schema():
    """Of Model Card Toolkit's latest form; the package itself can't be imported here."""
    [file] = [
        file
        for file in importlib.metadata.files("model-card-toolkit") or ()
        if str(file).endswith("schema/v0.0.2/model_card.schema.json")
    ]
    return json.loads(file.read_text())


def examples(run, split):
    """The ingested interactions of a split, serialized and parsed."""
    (folder,) = run.metadata.outputs("DataFolderExampleGen", "interactions")
    files = sorted(map(str, (folder / f"Split-{split}").iterdir()))
    serialized = list(tf.data.TFRecordDataset(files, "GZIP").as_numpy_iterator())
    return serialized, [tf.train.Example.FromString(one).features.feature for one in serialized]


class TestFirstRun:
    def test_model_is_pushed_and_nothing_else_lies_beside_it(self, place, first):
        outcome = first.outcome
        assert outcome.blessed and outcome.infra_blessed
        assert outcome.version == place.serving / outcome.version.name
        assert place.versions()[0] == outcome.version.name
        assert all(name.isdigit() for name in place.versions())  # no `.incoming-…`

    def test_every_node_ran_and_was_reported(self, first):
        assert len(first.outcome.durations) == len(first.metadata.states) == 19
        assert not [line for line in first.lines if "cached" in line]
        for node in first.metadata.states:
            assert sum(f" {node} " in line for line in first.lines) == 1

    def test_every_row_is_accounted_for_as_it_was_meant(self, place, first):
        shop, summary = place.shop, first.outcome.summary
        assert {file.name: file.read for file in summary.files} == shop.rows
        found = {
            (file.name, reason.reason, reason.column): list(reason.first_rows)
            for file in summary.files
            for reason in file.reasons
        }
        assert found == shop.bad
        for file in summary.files:
            bad = sum(len(rows) for key, rows in shop.bad.items() if key[0] == file.name)
            assert (file.quarantined, file.emitted) == (bad, file.read - bad)
        assert sum(summary.splits.values()) == shop.interactions
        assert (summary.items, summary.new_products) == (len(shop.items), len(shop.unsold))
        assert summary.users == len(shop.histories)
        assert (summary.rating_min, summary.rating_max, summary.is_implicit) == (1, 5, False)

    def test_every_beam_stage_is_of_what_flink_and_spark_can_run(self, first, protos):
        assert len(protos) >= BEAM_NODES
        assert [fault for proto in protos for fault in unportable(proto)] == []

    @pytest.mark.parametrize(
        ("node", "executor", "stock"),
        [
            ("StatisticsInteractions", accounted.StatisticsExecutor, StatisticsGen),
            ("TransformCatalogue", accounted.TransformExecutor, Transform),
            ("Evaluator", accounted.EvaluatorExecutor, Evaluator),
        ],
    )
    def test_a_stage_that_lost_a_row_fails(self, first, monkeypatch, node, executor, stock):
        """The stock executor does nothing here: what it wrote in the run is counted again."""
        monkeypatch.setattr(stock.EXECUTOR_SPEC.executor_class, "Do", lambda *_: None)
        inputs, outputs = (
            first.metadata.artifacts(node, kind) for kind in (Event.INPUT, Event.OUTPUT)
        )
        counted = executor().Do
        counted(inputs, outputs, first.metadata.properties(node))
        [examples] = inputs["examples"]
        noted = noted_rows(examples)
        assert noted is not None
        note_rows(examples, {split: rows + 1 for split, rows in noted.items()})
        with pytest.raises(DebutError, match=r"went in and \d+ came out"):
            counted(inputs, outputs, first.metadata.properties(node))

    def test_variants_are_held_out_together(self, place, first):
        held_out = {
            feature["item_id"].bytes_list.value[0].decode()
            for feature in examples(first, "new_items")[1]
        }
        trained = {
            feature["item_id"].bytes_list.value[0].decode()
            for split in ("train", "eval")
            for feature in examples(first, split)[1]
        }
        assert held_out and not held_out & trained
        for group in place.shop.groups.values():
            assert not (held_out & set(group) and trained & set(group)), group

    def test_metrics_are_those_of_the_pushed_model_on_each_slice(self, first):
        serialized, parsed = map(
            list, map(itertools.chain.from_iterable, zip(*(examples(first, s) for s in
            ("eval", "new_items")), strict=True))
        )  # fmt: skip
        state = np.array([feature["item_state"].bytes_list.value[0] for feature in parsed])
        evaluate = loaded(first.outcome.version).signatures["evaluate"]
        outputs = {name: value.numpy() for name, value in evaluate(tf.constant(serialized)).items()}
        assert set(first.outcome.metrics) == {"candidate"}
        for name, states in SLICES.items():
            metrics, rows = first.outcome.metrics["candidate"][name], np.isin(state, list(states))
            rank, cold_rank = outputs["rank"][rows], outputs["cold_rank"][rows]
            expected = {
                "example_count": rows.sum(),
                "squared_error": outputs["squared_error"][rows].mean(),
                "recall_at_20": (rank <= 20).mean(),
                "mrr_at_10": np.where(rank <= 10, 1 / rank, 0).mean(),
                "ndcg_at_50": np.where(rank <= 50, 1 / np.log2(rank + 1), 0).mean(),
                "cold_recall_at_20": (cold_rank <= 20).mean(),
            }
            assert rows.any()
            # A rank may differ by one where batches of other widths round differently.
            assert {key: metrics[key] for key in expected} == pytest.approx(expected, abs=0.01)
            calibration = first.outcome.calibration[name]
            rated, given = outputs["rated"][rows], outputs["given"][rows]
            assert sum(part.size for part in calibration) == rated.size
            for mean, of in ((rated.mean(), "rated"), (given.mean(), "given")):
                weighed = sum(part.size * getattr(part, of) for part in calibration)
                assert weighed / rated.size == pytest.approx(mean, abs=1e-3)
        (evaluation,) = first.metadata.outputs("Evaluator", "evaluation")
        counts = np.array(read_rating_counts(evaluation))
        by_hand = np.histogram(outputs["rating"], len(counts), (0, 1))[0]
        # Ratings on a border may fall to either side of it.
        assert np.abs(np.cumsum(counts) - np.cumsum(by_hand)).max() <= 2
        self.check_exposure(first, outputs, state)
        self.check_groups(first, outputs, parsed)
        splits = first.outcome.summary.splits
        assert (state == b"seen").sum() == splits["eval"]
        assert (state == b"new").sum() == splits["new_items"]

    def check_exposure(self, first, outputs, state):
        metrics = first.outcome.metrics["candidate"]
        for cold, name in (("", "overall"), ("cold_", "new")):
            rows = np.isin(state, list(SLICES[name]))
            listed, count = outputs[f"{cold}listed"][rows], int(outputs[f"{cold}candidates"][0])
            shown = np.unique(listed[listed >= 0], return_counts=True)[1]
            everything = np.append(shown, np.zeros(count - len(shown)))
            apart = np.abs(everything[:, np.newaxis] - everything).mean()
            expected = {
                f"{cold}coverage_at_20": len(shown) / count,
                f"{cold}gini_at_20": apart / (2 * everything.mean()),
            }
            found = {key: metrics[name][key] for key in expected}
            assert found == pytest.approx(expected, abs=0.02)
        pairs = zip(outputs["listed"], outputs["cold_listed"], strict=True)
        new = [len(np.intersect1d(one[one >= 0], other[other >= 0])) for one, other in pairs]
        share = sum(new) / (outputs["listed"] >= 0).sum()
        assert metrics["overall"]["new_share_at_20"] == pytest.approx(share, abs=0.01)

    def check_groups(self, first, outputs, parsed):
        """By the histories, and by the interactions that the data holds of an item."""
        sold = Counter(
            feature["item_id"].bytes_list.value[0]
            for split in ("train", "eval", "new_items")
            for feature in examples(first, split)[1]
        )
        recalls: dict[str, list[bool]] = {}
        for feature, rank in zip(parsed, outputs["rank"], strict=True):
            state = feature["item_state"].bytes_list.value[0].decode()
            had = len(feature["history"].bytes_list.value)
            count = sold[feature["item_id"].bytes_list.value[0]]
            user = "heavy" if had >= 10 else "light" if had else "unknown"
            item = "popular" if count >= 100 else "middle" if count >= 10 else "niche"
            for name in (f"{state}_for_{user}_users", f"{state}_{item}_items"):
                recalls.setdefault(name, []).append(rank <= 20)
        metrics = first.outcome.metrics["candidate"]
        assert set(recalls) == set(metrics) - set(SLICES)
        for name, hits in recalls.items():
            assert metrics[name]["example_count"] == len(hits)
            assert metrics[name]["recall_at_20"] == pytest.approx(np.mean(hits), abs=0.03)

    def test_labels_are_planned_for_new_products(self, place, first):
        done = CliRunner().invoke(
            main, ["label-plan", "--root", str(place.root), "-k", "5", "--json"]
        )
        assert done.exit_code == 0, done.output
        found = json.loads(done.stdout)
        assert len({wanted["item_id"] for wanted in found}) == 5
        assert {wanted["item_id"] for wanted in found} <= place.shop.unsold
        for wanted in found:
            assert place.shop.items[wanted["item_id"]].title in wanted["title"]
        left = [wanted["left"] for wanted in found]
        assert left == sorted(left, reverse=True) and 0 < left[-1] < left[0] < 1

    def test_first_run_is_judged_without_a_baseline(self, first):
        assert len(first.outcome.decisions) == 4
        assert all(decision.baseline is None for decision in first.outcome.decisions)
        assert all(decision.passed for decision in first.outcome.decisions)
        assert first.metadata.inputs("Evaluator", "baseline_model") == []

    def test_tensorboard_has_options_and_the_item_space_of_the_run(self, place, first):
        (folder,) = first.metadata.outputs("TwoTowerTrainer", "model_run")
        lines = (folder / "tensorboard" / "item_names.tsv").read_text().splitlines()[1:]
        rows = {item: (name, state) for item, name, state in (line.split("\t") for line in lines)}
        assert set(rows) == set(place.shop.items)
        assert {item for item, (_, state) in rows.items() if state == "new"} == place.shop.unsold
        name, _ = rows["00001"]
        assert name.startswith(place.shop.items["00001"].title)
        [events] = (folder / "tensorboard").glob("events*")
        assert b"training.learning_rate" in events.read_bytes()

    def test_the_card_says_what_the_run_measured_in_the_toolkit_s_form(self, place, first):
        version, outcome = int(first.outcome.version.name), first.outcome
        card = json.loads(card_file(place.root, version).read_text())
        jsonschema.validate(card, toolkit_schema())
        assert card["model_details"]["version"]["name"] == str(version)
        assert any(
            outcome.run_id in one["reference"] for one in card["model_details"]["references"]
        )
        told = {
            (one["type"], one["slice"]): one["value"]
            for one in card["quantitative_analysis"]["performance_metrics"]
        }
        for slice_, values in outcome.metrics["candidate"].items():
            for metric, value in values.items():
                if metric.startswith("cold_") and "new" not in slice_.split("_"):
                    continue
                digits = 0 if metric.endswith("example_count") else 4
                assert told.pop((metric, slice_)) == f"{value:.{digits}f}"
        assert set(told) == {(f"gate: {d.gate.metric}", d.gate.slice) for d in outcome.decisions}
        assert all(value.startswith("passed with ") for value in told.values())
        interactions, catalogue = card["model_parameters"]["data"]
        assert (
            f"{place.shop.interactions:,} of {len(place.shop.histories)} users"
            in (interactions["description"])
        )
        assert f"{len(place.shop.unsold)} of them without" in catalogue["description"]
        page = card_file(place.root, version, "html").read_text()
        assert all(value in page for value in told.values())

    def test_training_made_the_model_better(self, first):
        record = first.outcome.training
        assert record.kept_step > 0
        # The kernel is chosen on other launches than that which is measured and need not gain.
        assert record.after["score"] > 0.9 * record.before["score"]
        assert set(record.kernel) == {"ridge", "order", "side"}
        assert record.after["squared_error"] < record.before["squared_error"] / 2
        assert (record.items, record.users) == (150, 80)
        assert record.interactions == first.outcome.summary.splits["train"]

    def test_version_has_the_stock_warm_up_file(self, first):
        file = first.outcome.version / "assets.extra" / "tf_serving_warmup_requests"
        records = [
            prediction_log_pb2.PredictionLog.FromString(record).predict_log.request
            for record in tf.data.TFRecordDataset(str(file)).as_numpy_iterator()
        ]
        signatures = [request.model_spec.signature_name for request in records]
        assert signatures.count("serving_default") == 1
        assert set(signatures) == set(CONTRACT) - NEVER_SERVED
        examples = records[0].inputs["examples"].string_val
        assert "item_id" in tf.train.Example.FromString(examples[0]).features.feature


class TestSavedModel:
    @pytest.fixture(scope="class")
    def graph(self, first):
        return saved_model_utils.get_meta_graph_def(str(first.outcome.version), "serve")

    def test_signatures_are_those_of_the_contract(self, graph):
        def described(tensors):
            return {
                name: (tf.as_dtype(info.dtype), len(info.tensor_shape.dim))
                for name, info in tensors.items()
                if not info.tensor_shape.unknown_rank
            }

        signatures = dict(graph.signature_def)
        assert set(signatures) - {"__saved_model_init_op"} == set(CONTRACT)
        for name, (inputs, outputs) in CONTRACT.items():
            assert described(signatures[name].inputs) == inputs, name
            assert set(signatures[name].outputs) == set(outputs), name
            # Where TensorFlow could not infer a rank, the answers over gRPC have it.
            for output, (dtype, _) in outputs.items():
                assert signatures[name].outputs[output].dtype == dtype.as_datatype_enum

    def test_only_ops_of_a_stock_server_are_used(self, graph):
        functions = {function.signature.name for function in graph.graph_def.library.function}
        used = {node.op for node in graph.graph_def.node}
        for function in graph.graph_def.library.function:
            used |= {node.op for node in function.node_def}
        # Another process, because the libraries that are loaded here add their ops to the registry.
        script = (
            "import sys; import tensorflow; "
            "from tensorflow.python.framework import op_def_registry as registry; "
            "print(*[op for op in sys.argv[1:] if registry.get(op) is None])"
        )
        found = subprocess.run(
            [sys.executable, "-c", script, *sorted(used - functions)],
            capture_output=True,
            text=True,
            check=True,
        )
        assert set(found.stdout.split()) <= TEXT_OPS


class TestAnswers:
    """What a client of the pushed model gets over gRPC."""

    def test_known_user_is_never_recommended_what_was_bought(self, place, client):
        users = ["u1", "u79"]
        for user, ranking in zip(users, client.recommend(users, k=20), strict=True):
            assert len(set(ranking.item_ids)) == 20
            assert set(ranking.item_ids) <= set(place.shop.items)
            assert not set(ranking.item_ids) & set(place.shop.histories[user])
            assert ranking.scores == sorted(ranking.scores, reverse=True)
            assert all(map(math.isfinite, ranking.scores))

    def test_new_only_is_exactly_the_products_without_interactions(self, place, client):
        rankings = client.recommend(["u1", "nobody"], k=1000, new_only=True)
        for ranking in rankings:
            assert sorted(ranking.item_ids) == sorted(place.shop.unsold)
        (ten,) = client.recommend(["u1"], k=10, new_only=True)
        assert ten.item_ids == rankings[0].item_ids[:10]

    def test_unknown_user_gets_old_and_new_products_until_the_history_says_more(
        self, place, client
    ):
        bought = [item for item in place.shop.of_theme("kitchen") if item not in place.shop.unsold]
        (nothing_known,) = client.recommend(["nobody"])
        assert set(nothing_known.item_ids) & place.shop.unsold
        assert set(nothing_known.item_ids) - place.shop.unsold
        (known,) = client.recommend(["nobody"], history=[[*bought[:5], "no such item"]])
        assert not set(known.item_ids) & set(bought[:5])
        kitchen = set(place.shop.of_theme("kitchen"))
        assert len(kitchen & set(known.item_ids)) >= 5  # by chance it would be 1 or 2
        (cold,) = client.recommend(["nobody"], history=[bought[:5]], k=5, new_only=True)
        assert len(kitchen & set(cold.item_ids)) >= 2

    def test_list_is_as_long_as_there_are_candidates(self, place, client):
        (ranking,) = client.recommend(["u1"], k=1000)
        rest = set(place.shop.items) - set(place.shop.histories["u1"])
        assert sorted(ranking.item_ids) == sorted(rest)

    def test_ratings_follow_what_people_gave(self, place, client):
        mean = {}
        for theme in THEMES:
            items = place.shop.of_theme(theme)
            scores = client.score(["nobody"] * len(items), items)
            assert all(0 <= rating <= 1 for rating in scores.ratings)
            mean[theme] = sum(scores.ratings) / len(items)
        # On the scale of the data the themes lie 1 to 4 apart, so 0.25 to 1.
        good = [mean[theme] for theme, quality in QUALITY.items() if quality >= 4]
        bad = [mean[theme] for theme, quality in QUALITY.items() if quality <= 2]
        assert min(good) > max(bad) + 0.1

    def test_embedding_of_a_text_is_the_one_on_the_shelf(self, place, client):
        ids, items = zip(*place.shop.items.items(), strict=True)
        vectors = np.array(
            client.embed_items(
                [item.title for item in items],
                categories=[item.theme for item in items],
                descriptions=[f"material: {i.material}." if i.material else "" for i in items],
                prices=[math.nan if item.price is None else item.price for item in items],
            ).vectors
        )
        assert vectors.shape == (150, 16)
        assert np.linalg.norm(vectors, axis=1) == pytest.approx(np.ones(150), abs=1e-5)
        row = {item: number for number, item in enumerate(ids)}
        for item, ranking in zip(
            ids[::30], client.similar_items(list(ids[::30]), k=149), strict=True
        ):
            assert sorted([*ranking.item_ids, item]) == sorted(ids)
            cosines = [float(vectors[row[item]] @ vectors[row[other]])
                       for other in ranking.item_ids]  # fmt: skip
            # The shelf holds them in 16 bits.
            assert ranking.scores == pytest.approx(cosines, abs=5e-3)

    def test_similar_items_share_the_theme(self, place, client):
        asked = [place.shop.of_theme(theme)[0] for theme in THEMES]
        alike = 0
        for item, ranking in zip(asked, client.similar_items(asked, k=5), strict=True):
            theme = place.shop.items[item].theme
            alike += sum(place.shop.items[other].theme == theme for other in ranking.item_ids)
        assert alike >= 15  # of 30; by chance 5

    def test_embed_users_gives_one_interest_per_item_of_the_history(self, place, client):
        history = place.shop.histories["u1"][:3]
        (interests,) = np.array(client.embed_users(["nobody"], history=[history]).vectors)
        assert np.count_nonzero(np.linalg.norm(interests, axis=1) > 0.5) == 3

    def test_unknown_item_and_bad_k_are_refused_by_name(self, client):
        with pytest.raises(BadInput, match="no-such-item"):
            client.score(["u1"], ["no-such-item"])
        with pytest.raises(BadInput, match="no-such-item"):
            client.similar_items(["no-such-item"])
        with pytest.raises(BadInput, match="k must be at least 1"):
            client.recommend(["u1"], k=0)


def changed(command, root, **files):
    """`debut items COMMAND`, with an option for each file."""
    options = [text for name, value in files.items() for text in (f"--{name}", str(value))]
    return CliRunner().invoke(main, ["items", command, "--root", str(root), *options])


@functools.cache
def loaded(version):
    """A version in this process, loaded once: that takes seconds."""
    return tf.saved_model.load(str(version))


@pytest.fixture(scope="module", autouse=True)
def forget_versions():
    """Before Python ends, which TensorFlow's objects would not take without a complaint."""
    yield
    loaded.cache_clear()


def asked(version, users):
    """What a version recommends to each user, ten items."""
    answer = loaded(version).signatures["recommend"](
        user_id=tf.constant(users), history=tf.zeros([len(users), 0], tf.string),
        profile=tf.fill([len(users)], ""), k=tf.constant(10), new_only=tf.constant(False),
    )  # fmt: skip
    return {name: values.numpy() for name, values in answer.items()}


def listed(version, users, **options):
    """What a version recommends to each user, all of it."""
    ask = {
        "user_id": tf.constant(users), "history": tf.zeros([len(users), 0], tf.string),
        "profile": tf.fill([len(users)], ""), "k": tf.constant(1000),
        "new_only": tf.constant(False), **options,
    }  # fmt: skip
    answer = loaded(version).signatures["recommend"](**ask)
    return dict(zip(users, answer["item_id"].numpy().astype(str), strict=True))


def with_the_version_of(first, place, root):
    """A root that holds the version of the first run, and what ML Metadata knows of it."""
    version = first.outcome.version
    shutil.copytree(version, serving_folder(root) / version.name)
    shutil.copy(place.root / "metadata.sqlite", root)
    return root


class TestItems:
    """Products and interactions go into the first run's model, in a root of their own."""

    @pytest.fixture(scope="class")
    def root(self, place, first, tmp_path_factory):
        return with_the_version_of(first, place, tmp_path_factory.mktemp("added"))

    @pytest.fixture(scope="class")
    def supported(self, place):
        """Two new products, with three supporters each."""
        new = sorted(place.shop.unsold)[:2]
        return {new[0]: ["u1", "u2", "u3"], new[1]: ["u4", "u5", "somebody"]}

    @pytest.fixture(scope="class")
    def added(self, root, supported, tmp_path_factory):
        rows = [
            f"{user},{item},{START + 86_400 * day},5"
            for item, users in supported.items()
            for day, user in enumerate(users)
        ]
        file = tmp_path_factory.mktemp("support") / "today.csv"
        file.write_text("\n".join(["user_id,item_id,timestamp,rating", *rows]) + "\n")
        return changed("add", root, interactions=file)

    def test_a_version_is_pushed_and_said_so(self, root, first, added):
        assert added.exit_code == 0, added.output
        old, new = sorted(path.name for path in serving_folder(root).iterdir())
        assert old == first.outcome.version.name
        assert f"{new}, made of version {old}" in added.output
        assert "6 interactions taken in: 2 items adapted" in added.output
        assert "5 purchases of known users" in added.output
        warm_up = Path("assets.extra", "tf_serving_warmup_requests")
        assert (serving_folder(root) / new / warm_up).read_bytes() == (
            serving_folder(root) / old / warm_up
        ).read_bytes()

    def test_supporters_are_not_offered_the_product_again_and_others_may_be(
        self, root, first, supported, added
    ):
        users = ["u1", "u4", "u30"]
        before, after = (
            listed(version, users, new_only=tf.constant(True))
            for version in (first.outcome.version, max(serving_folder(root).iterdir()))
        )
        one, other = supported
        assert one in before["u1"] and one not in after["u1"]
        assert other in before["u4"] and other not in after["u4"]
        assert {one, other} <= set(after["u30"])

    @pytest.fixture(scope="class")
    def grown(self, place, root, added, tmp_path_factory):
        """New products, one of them with buyers, a changed one, and a bad row in each file."""
        folder = tmp_path_factory.mktemp("grown")
        changed_item = sorted(place.shop.unsold)[3]
        goods = [f"2{n:04d},vintage tea cup {n},kitchen,{n}.5,wood,{n != 7}" for n in range(30)]
        (folder / "new.csv").write_text(
            "\n".join(
                [
                    "item_id,title,category,price,material,available",
                    *goods,
                    f"{changed_item},red paper clock,office,3,,",
                    "20000,again,kitchen,1,,",
                ]
            )
        )
        buyers = [f"u{number},20000,{START},4" for number in range(20, 60)]
        (folder / "today.csv").write_text(
            "\n".join(["user_id,item_id,timestamp,rating", *buyers, "u1,20000,soon,3"])
        )
        return changed("add", root, items=folder / "new.csv", interactions=folder / "today.csv")

    def test_bad_rows_are_set_aside_with_their_reason(self, root, grown):
        assert grown.exit_code == 0, grown.output
        assert "2 rows set aside: item_id: duplicate id (1); timestamp: neither" in grown.output
        (file,) = (root / "set-aside").iterdir()
        rows = [json.loads(line) for line in file.read_text().splitlines()]
        assert [(row["file"], row["row"], row["column"], row["value"]) for row in rows] == [
            ("new.csv", 32, "item_id", "20000"),
            ("today.csv", 41, "timestamp", "soon"),
        ]

    def test_new_products_are_recommended_unless_they_are_not_available(self, root, grown):
        assert "30 products added, 1 updated" in grown.output
        assert "40 interactions taken in: 1 item adapted, 40 purchases" in grown.output
        newest = sorted(serving_folder(root).iterdir())[-1]
        lists = listed(newest, ["u20", "u70", "somebody"], new_only=tf.constant(True))
        new = {f"2{number:04d}" for number in range(30)} - {"20007"}
        assert "20007" not in set().union(*map(set, lists.values()))
        assert new <= set(lists["u70"]) and new <= set(lists["somebody"])
        assert new - set(lists["u20"]) == {"20000"}

    @pytest.fixture(scope="class")
    def removed(self, root, grown, tmp_path_factory):
        file = tmp_path_factory.mktemp("removed") / "gone.csv"
        file.write_text("item_id\n20001\n00003\n")
        return changed("remove", root, item="20002", items=file)

    def test_removed_products_are_in_no_list(self, root, removed):
        assert removed.exit_code == 0, removed.output
        assert "3 products withdrawn." in removed.output
        before, after = (
            listed(version, ["somebody"])["somebody"]
            for version in sorted(serving_folder(root).iterdir())[-2:]
        )
        assert set(before) - set(after) == {"20001", "20002", "00003"}

    def test_a_scheduled_pipeline_does_the_same_and_notes_what_was_made_of_what(
        self, place, root, grown, removed, tmp_path
    ):
        base = max(serving_folder(root).iterdir())
        (tmp_path / "back.csv").write_text("item_id,title,available\n20002,vintage cup,1\n")
        with another_run(root) as ended:
            version = run_catalogue_pipeline(root, Change(items=tmp_path / "back.csv"))
            assert ended.is_set()
        assert version.name > base.name and version.parent == base.parent
        before, after = (listed(path, ["somebody"])["somebody"] for path in (base, version))
        assert set(after) - set(before) == {"20002"} and not set(before) - set(after)
        run = NewestRun(root)
        assert run.inputs("CatalogueUpdater", "base") == [base]
        made = run.outputs("CatalogueUpdater", "model")
        assert (
            run.inputs("AtomicPusher", "model")
            == run.inputs("EmbeddedInfraValidator", "model")
            == made
        )
        # And whatever comes next finds the run that trained the model.
        assert [one["base"] for one in pushed_versions(root)[:1]] == [int(base.name)]
        trained = min(serving_folder(root).iterdir())
        assert read_terms(root, version) == read_terms(place.root, trained)

    def test_many_products_are_described_by_beam_with_the_options_given(
        self, place, first, tmp_path, monkeypatch
    ):
        root = with_the_version_of(first, place, tmp_path)
        (tmp_path / "many.csv").write_text("item_id,title\na,vintage cup\nb,red star\nc,tea mug\n")
        monkeypatch.setattr(describing, "FEW", 2)
        flag = "--direct_num_workers=1"
        with mock.patch.object(
            beam_describing, "describe_by_beam", wraps=beam_describing.describe_by_beam
        ) as described:
            added = changed(
                "add", root, items=tmp_path / "many.csv", set=f"run.beam_args=[{flag}]"
            )  # fmt: skip
        assert added.exit_code == 0, added.output
        assert "3 products added" in added.output
        _, products, beam_args = described.call_args.args
        assert len(products) == 3
        assert list(beam_args) == beam_pipeline_args("direct", [flag])

    def test_an_unknown_product_is_not_removed(self, root, grown):
        versions = sorted(serving_folder(root).iterdir())
        result = changed("remove", root, item="no-such-item")
        assert result.exit_code == 2 and "no-such-item" in result.output
        assert sorted(serving_folder(root).iterdir()) == versions

    @pytest.mark.parametrize(
        ("text", "said"),
        [
            ("item_id,title,price\na,Apple,cheap\n", "price"),
            ("item_id,title,available\na,Apple,perhaps\n", "neither true nor false"),
            ("item_id,name\na,Apple\n", "no column title"),
            ("item_id,title\n", "no rows"),
        ],
    )
    def test_bad_products_end_with_2_and_push_nothing(self, root, grown, tmp_path, text, said):
        versions = sorted(serving_folder(root).iterdir())
        (tmp_path / "bad.csv").write_text(text)
        result = changed("add", root, items=tmp_path / "bad.csv")
        assert result.exit_code == 2 and said in result.output
        assert sorted(serving_folder(root).iterdir()) == versions

    @pytest.mark.parametrize(
        ("text", "said"),
        [
            ("user_id,item_id,timestamp,rating\nu1,no-such-item,5,3\n", "no-such-item"),
            ("user_id,item_id,timestamp\nu1,00003,5\n", "no column rating"),
            ("user_id,timestamp,rating\nu1,5,3\n", "no column item_id"),
            ("user_id,item_id,timestamp,rating\n", "no rows"),
        ],
    )
    def test_bad_input_ends_with_2_and_pushes_nothing(self, root, grown, tmp_path, text, said):
        versions = sorted(serving_folder(root).iterdir())
        (tmp_path / "bad.csv").write_text(text)
        result = changed("add", root, interactions=tmp_path / "bad.csv")
        assert result.exit_code == 2 and said in result.output
        assert sorted(serving_folder(root).iterdir()) == versions


class TestExploration:
    """New items get places in the first run's model, in a root of their own."""

    @pytest.fixture(scope="class")
    def root(self, place, first, tmp_path_factory):
        return with_the_version_of(first, place, tmp_path_factory.mktemp("explored"))

    @pytest.fixture(scope="class")
    def begun(self, root):
        """`debut explore` without a log."""
        settings = ["explore.policy=thompson", "explore.share=0.5"]
        options = [word for setting in settings for word in ("--set", setting)]
        return CliRunner().invoke(main, ["explore", "--root", str(root), *options])

    def test_a_version_that_explores_is_pushed_and_said_so(self, place, root, first, begun):
        assert begun.exit_code == 0, begun.output
        newest, before = pushed_versions(root)
        assert f"{newest['version']}, made of version {before['version']}" in begun.output
        assert newest["by"].startswith("explore by ") and newest["base"] == before["version"]
        users = [f"u{number}" for number in range(80)]
        usual, explored = (
            asked(version, users)
            for version in (first.outcome.version, max(serving_folder(root).iterdir()))
        )
        np.testing.assert_array_equal(usual["item_id"][:, :5], explored["item_id"][:, :5])
        drawn = explored["propensity"] < 1
        assert not drawn[:, :5].any() and drawn[:, 5:].mean() > 0.5
        assert set(explored["item_id"][drawn].astype(str)) <= place.shop.unsold
        assert (usual["propensity"] == 1).all()

    @pytest.fixture(scope="class")
    def log(self, root, begun, tmp_path_factory):
        """Of which too few places speak for what they teach."""
        folder = tmp_path_factory.mktemp("feedback")
        newest = sorted(serving_folder(root).iterdir())[-1]
        users = [f"u{number}" for number in range(80)]
        answer = asked(newest, users)
        with FeedbackLog(folder, key=b"secret") as log:
            for user, items, scores, chances in zip(
                users, *(answer[name] for name in ("item_id", "score", "propensity")), strict=True
            ):
                ids = items.astype(str).tolist()
                shown = log.impression(
                    user, Ranking(ids, scores.tolist(), int(newest.name), chances.tolist())
                )
                if user.endswith("7"):
                    log.purchase(user, ids[9], shown)
        return folder

    def test_as_a_pipeline_the_gate_refuses_what_too_few_places_speak_for(
        self, root, log, monkeypatch
    ):
        newest = sorted(serving_folder(root).iterdir())[-1]
        monkeypatch.setenv("SHOP_KEY", "secret")
        options = load_configuration(None, ["explore.policy=linucb", "explore.tolerance=0"]).explore
        with pytest.raises(Refused, match="explored places that did not teach it"):
            run_exploration_pipeline(root, log, options, key="SHOP_KEY")
        assert sorted(serving_folder(root).iterdir())[-1] == newest
        assert NewestRun(root).states["ExplorationUpdater"] == "FAILED"

    def test_an_override_pushes_what_the_gate_refuses_and_is_recorded_with_its_reason(
        self, root, log, monkeypatch
    ):
        monkeypatch.setenv("SHOP_KEY", "secret")
        before, reason = pushed_versions(root)[0], "we know that these sell"
        assert before["gates"] == "passed"
        result = CliRunner().invoke(
            main,
            ["explore", "--root", str(root), "--log", str(log), "--key", "SHOP_KEY",
             "--set", "explore.policy=linucb", "--set", "explore.tolerance=0",
             "--override-gates", reason],
        )  # fmt: skip
        assert result.exit_code == 0, result.output
        assert f"overridden: {reason}" in result.output
        newest = pushed_versions(root)[0]
        assert newest["base"] == before["version"] and newest["gates"] == f"overridden: {reason}"
        page = (cards_folder(root) / f"{newest['version']}.html").read_text()
        assert f"though a gate refused it: {reason}" in page

    def test_a_log_without_its_key_ends_with_2(self, root, begun, tmp_path):
        result = CliRunner().invoke(
            main, ["explore", "--root", str(root), "--log", str(tmp_path), "--key", "NO_SUCH_KEY"]
        )
        assert result.exit_code == 2 and "NO_SUCH_KEY is not set" in result.output


class TestSecondRun:
    def test_unchanged_nodes_come_from_the_cache(self, second):
        states = second.metadata.states
        assert {node for node, state in states.items() if state == "CACHED"} == {
            "DataFolderExampleGen",
            "StatisticsCatalogue",
            "StatisticsInteractions",
            "SchemaCatalogue",
            "SchemaInteractions",
            "ValidatorCatalogue",
            "ValidatorInteractions",
            "SkewValidatorInteractions",
            "TransformCatalogue",
            "TransformInteractions",
            "TwoTowerTrainer",
            "EmbeddedInfraValidator",
        }
        assert {state for state in states.values() if state != "CACHED"} == {"COMPLETE"}
        shown = {line.split()[-2] for line in second.lines if line.endswith("cached")}
        assert shown == {node for node, state in states.items() if state == "CACHED"}

    def test_first_model_is_the_baseline(self, first, second):
        baseline = second.metadata.inputs("Evaluator", "baseline_model")
        assert baseline == first.metadata.outputs("TwoTowerTrainer", "model")
        metrics = second.outcome.metrics
        assert metrics["candidate"] == metrics["baseline"]
        for before, now in zip(first.outcome.decisions, second.outcome.decisions, strict=True):
            assert now.passed and now.baseline == pytest.approx(before.candidate, abs=0.01)

    def test_drift_is_measured_against_the_first_run(self, first, second):
        for lane in ("Catalogue", "Interactions"):
            baseline = second.metadata.inputs(f"DriftValidator{lane}", "baseline_statistics")
            assert baseline == first.metadata.outputs(f"Statistics{lane}", "statistics")

    def test_nothing_has_moved_since_the_first_run(self, first, second):
        assert first.outcome.drift.since == "" and first.outcome.drift.ratings is None
        drift = second.outcome.drift
        assert drift.since == first.outcome.run_id
        assert drift.ratings == pytest.approx(0) and drift.verdict == "none"
        assert {(f.feature, f.split) for f in drift.features} == {
            ("price", "all"), ("category", "all"),
            ("rating", "train"), ("rating", "eval"), ("rating", "new_items"),
        }  # fmt: skip
        assert {f.divergence for f in drift.features} == {0.0}

    def test_model_is_pushed_again_and_the_server_takes_the_newer_version(
        self, place, first, second, client
    ):
        old, new = first.outcome.version, second.outcome.version
        assert place.versions() == [old.name, new.name]
        assert int(new.name) > int(old.name)
        wait_until_available(client, int(new.name))
        (ranking,) = client.recommend(["u1"])
        assert ranking.version == int(new.name)


class TestWorseModel:
    def test_evaluator_refuses_and_nothing_is_pushed(self, place, first, second, third):
        assert not third.outcome.blessed
        assert third.outcome.infra_blessed  # it could be served, it only should not
        assert third.outcome.version is None
        assert place.versions() == [first.outcome.version.name, second.outcome.version.name]

    def test_other_ratings_are_told_against_the_last_pushed_run(self, second, third):
        before, now = (
            read_rating_counts(run.metadata.outputs("Evaluator", "evaluation")[0])
            for run in (second, third)
        )
        drift = third.outcome.drift
        assert drift.since == second.outcome.run_id
        assert drift.ratings == stability_index(before, now) > 0

    def test_refusal_names_metric_slice_and_both_values(self, second, third):
        refusing = [decision for decision in third.outcome.decisions if not decision.passed]
        assert refusing
        assert "squared_error" in {decision.gate.metric for decision in refusing}
        for decision in refusing:
            gate, metrics = decision.gate, third.outcome.metrics
            said = decision.explain()
            assert f"{gate.metric} on slice {gate.slice}" in said
            assert f"{metrics['candidate'][gate.slice][gate.metric]:.4f}" in said
            assert f"{second.outcome.metrics['candidate'][gate.slice][gate.metric]:.4f}" in said

    def test_texts_were_not_transformed_again(self, third):
        assert third.metadata.states["TransformCatalogue"] == "CACHED"
        assert third.metadata.states["TwoTowerTrainer"] == "COMPLETE"

    def test_old_version_answered_throughout(self, second, third, answers, client):
        (ranking,) = client.recommend(["u1"], k=3)
        assert len(answers) > 10
        assert {*answers, ranking.version} == {int(second.outcome.version.name)}


class TestDrift:
    def test_prices_in_another_unit_stop_every_try_before_training(
        self, place, third, tmp_path_factory
    ):
        data = write_shop(tmp_path_factory.mktemp("pence"), price_factor=1000).folder
        versions = place.versions()
        for _ in range(2):  # what was refused once is no baseline
            with pytest.raises(BadInput, match=r"price.*gates"):
                place.run(data=data)
            states = NewestRun(place.root).states
            assert states["DriftValidatorCatalogue"] == "FAILED"
            assert not {"TransformCatalogue", "TwoTowerTrainer", "AtomicPusher"} & set(states)
        assert place.versions() == versions


class TestConsole:
    """The console on a root that was really run, and on a server that really serves it."""

    @pytest.fixture(scope="class")
    def http(self, place, second, client):
        wait_until_available(client, int(second.outcome.version.name))
        return Http(create_console(place.root, client))

    def ask(self, http, path, **parameters):
        response = http.get(f"/api/{path}", query_string=parameters)
        assert response.status_code == 200, response.text
        return response.json

    def test_a_product_is_shown_with_its_neighbours_and_audience(self, place, http, client):
        found = self.ask(http, "product", item="00000", k=5)
        assert found["item"]["name"].startswith(place.shop.items["00000"].title)
        buyers = [user for user, items in place.shop.histories.items() if "00000" in items]
        assert found["item"]["buyers"] == len(buyers)
        [similar] = client.at(found["version"]).similar_items(["00000"], k=5)
        assert [item["item_id"] for item in found["neighbours"]] == similar.item_ids
        assert not {one["user_id"] for one in found["audience"]} & set(buyers)

    def test_typed_as_a_new_one_it_is_nearest_to_itself_and_then_to_the_same(self, place, http):
        item = place.shop.items["00000"]
        known = self.ask(http, "product", item="00000", k=5)["neighbours"]
        typed = self.ask(
            http, "product", title=item.title, category=item.theme, price=item.price or "", k=6,
            description=f"material: {item.material}." if item.material else "",
        )["neighbours"]  # fmt: skip
        assert typed[0]["item_id"] == "00000"
        assert {one["item_id"] for one in typed[1:5]} <= {one["item_id"] for one in known}
        assert typed[1]["score"] == pytest.approx(known[0]["score"], abs=0.02)

    def test_a_customer_is_shown_with_the_history_and_reasons(self, place, http):
        found = self.ask(http, "customer", user="u1", k=4, new_only="1")
        history = place.shop.histories["u1"]
        assert found["bought"] == len(history)
        assert [item["item_id"] for item in found["history"]] == history[::-1]
        assert {item["item_id"] for item in found["list"]} <= place.shop.unsold
        for item in found["list"]:
            assert {why["item_id"] for why in item["because"]} <= set(history)

    def test_gates_and_drift_are_those_of_the_newest_judged_run(self, place, http, third):
        judged = self.ask(http, "overview")["run"]
        assert judged["run_id"] == third.outcome.run_id and not judged["verdict"]["is_good"]
        told = {(gate["metric"], gate["slice"]): gate for gate in judged["gates"]}
        assert len(told) == len(third.outcome.decisions)
        for decision in third.outcome.decisions:
            gate = decision.gate
            found = told[gate.metric, gate.slice]
            assert found["candidate"] == pytest.approx(decision.candidate)
            assert found["baseline"] == pytest.approx(decision.baseline)
            assert (found["bound"], found["tolerance"], found["direction"], found["passed"]) == (
                pytest.approx(gate.bound), pytest.approx(gate.tolerance), gate.direction,
                decision.passed,
            )  # fmt: skip
        drift = third.outcome.drift
        assert judged["drift"]["since"] == drift.since
        assert judged["drift"]["ratings"] == pytest.approx(drift.ratings)
        assert len(judged["drift"]["features"]) == len(drift.features)


class TestUnchanged:
    @pytest.fixture(scope="class")
    def repeat(self, place, second, third):
        """The second run again: by now its own model is the baseline it had."""
        return place.run()

    def test_nothing_is_computed_and_nothing_pushed(self, place, second, repeat):
        assert repeat.metadata.states["Evaluator"] == "CACHED"
        assert repeat.metadata.states["AtomicPusher"] == "CACHED"
        assert repeat.outcome.version == second.outcome.version
        assert repeat.outcome.is_repeat and not second.outcome.is_repeat
        assert place.versions()[-1] == second.outcome.version.name


class TestGoingBack:
    """A refused model is pushed all the same, taken back, and served again."""

    WORSE = ("training.steps=0", "model.embedding_size=2")

    @pytest.fixture(scope="class")
    def overridden(self, place, third):
        return place.run(*self.WORSE, override="the gate looks at the wrong week")

    @pytest.fixture(scope="class")
    def back(self, place, second, overridden):
        """Back to the second run's model, and then to the worse one once more."""
        results = []
        for version in (second.outcome.version.name, overridden.outcome.version.name):
            results.append(rollback(place.root, version, "it recommends what is sold out"))
        return results

    @pytest.fixture(scope="class")
    def withheld(self, place, back):
        return place.run()

    def test_an_override_pushes_what_evaluator_still_refuses(self, place, third, overridden):
        outcome = overridden.outcome
        assert overridden.metadata.states["Evaluator"] == "CACHED"
        assert not outcome.blessed and outcome.infra_blessed
        assert outcome.override == "the gate looks at the wrong week"
        assert outcome.version.name == place.versions()[-1]
        assert not third.outcome.override

    def test_versions_says_where_each_came_from(self, place, second, overridden):
        newest, before, *_ = pushed_versions(place.root)
        assert newest["version"] == int(overridden.outcome.version.name)
        assert newest["by"] == overridden.outcome.run_id
        assert newest["gates"] == "overridden: the gate looks at the wrong week"
        assert newest["labels"] == ["stable"] and newest["is_newest"]
        assert before["version"] == int(second.outcome.version.name)
        assert before["gates"] == "passed" and before["labels"] == []
        days = sorted(START + 86_400 * i + u for u in range(80) for i in range(len(
            place.shop.histories[f"u{u}"])))  # fmt: skip
        assert before["data"] == [
            datetime.fromtimestamp(day, timezone.utc).strftime("%Y-%m-%d")
            for day in (days[0], days[-1])
        ]
        for decision in second.outcome.decisions:
            shown = before["metrics"][f"{decision.gate.metric} {decision.gate.slice}"]
            assert shown == pytest.approx(decision.candidate)
        size = sum(f.stat().st_size for f in second.outcome.version.rglob("*") if f.is_file())
        assert before["megabytes"] == pytest.approx(size / 1e6)

    def test_rollback_serves_the_earlier_answers_under_the_newest_number(
        self, place, second, overridden, back, client
    ):
        assert [result.exit_code for result in back] == [0, 0], back[-1].output
        good, bad = pushed_versions(place.root)[1], pushed_versions(place.root)[0]
        assert (good["base"], bad["base"]) == (
            int(second.outcome.version.name), int(overridden.outcome.version.name)
        )  # fmt: skip
        assert bad["labels"] == ["stable"] and not bad["withdrawn"]
        assert good["withdrawn"] == bad["reason"] == "it recommends what is sold out"
        card = json.loads(card_file(place.root, bad["version"]).read_text())
        jsonschema.validate(card, toolkit_schema())
        made, pushed, *_ = [one["reference"] for one in card["model_details"]["references"]]
        assert f"version {overridden.outcome.version.name} by " in made
        assert overridden.outcome.run_id in pushed
        limits = [one["description"] for one in card["considerations"]["limitations"]]
        assert any("the gate looks at the wrong week" in limit for limit in limits)
        wait_until_available(client, bad["version"])
        (ranking,) = client.recommend(["u1"], k=5)
        alone = tf.saved_model.load(str(overridden.outcome.version)).signatures["recommend"](
            user_id=tf.constant(["u1"]), history=tf.zeros([1, 0], tf.string),
            profile=tf.constant([""]), k=tf.constant(5), new_only=tf.constant(False),
        )  # fmt: skip
        assert ranking.version == bad["version"]
        assert ranking.item_ids == list(alone["item_id"].numpy()[0].astype(str))

    def test_the_next_run_is_compared_with_what_is_served_and_not_pushed_if_withdrawn(
        self, place, overridden, withheld
    ):
        baseline = withheld.metadata.inputs("Evaluator", "baseline_model")
        assert baseline == overridden.metadata.outputs("TwoTowerTrainer", "model")
        assert withheld.outcome.blessed and withheld.outcome.version is None
        assert withheld.outcome.withdrawn == "it recommends what is sold out"

    @pytest.mark.parametrize(
        ("version", "said"),
        [("7", "There are "), ("..", "no version"), ("newest", "nothing to go")],
    )
    def test_a_version_that_is_not_there_or_is_served_ends_with_2(
        self, place, withheld, version, said
    ):
        versions = place.versions()
        name = versions[-1] if version == "newest" else version
        result = rollback(place.root, name, "why not")
        assert result.exit_code == 2 and said in result.output
        assert place.versions() == versions


class TestKilled:
    """SIGKILL in the midst of Evaluator; the same command then goes on from there."""

    # Other bounds, so that Evaluator has something to do; what is before it comes from the cache.
    BOUNDS = "{metric: squared_error, slice: overall, direction: lower, bound: 0.9, tolerance: 0.5}"
    SETTINGS = (f"gates.model=[{BOUNDS}]",)

    @pytest.fixture(scope="class")
    def killed(self, place, second, third):
        """States by node at the moment of the kill, and the versions that there were."""
        rollback(place.root, second.outcome.version.name, "the better one")
        versions = place.versions()
        line = [sys.executable, "-m", "pipeline.cli", "run", "--root", str(place.root)]
        for setting in (*small(place.shop.folder, place.encoder), *self.SETTINGS):
            line += ["--set", setting]
        with running(
            line, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
            env=os.environ | {"PYTHONUNBUFFERED": "1"},
        ) as process:  # fmt: skip
            assert process.stdout is not None
            assert any("EmbeddedInfraValidator" in said for said in process.stdout)
            while NewestRun(place.root).states.get("Evaluator") != "RUNNING":
                assert process.poll() is None
                time.sleep(0.05)
        return NewestRun(place.root).states, versions

    @pytest.fixture(scope="class")
    def resumed(self, place, killed):
        (place.serving / ".incoming-1-1").mkdir()  # as if an earlier one was killed in its push
        return place.run(*self.SETTINGS)

    def test_what_was_finished_comes_from_the_cache_and_the_rest_is_done(self, killed, resumed):
        states, _ = killed
        assert states["Evaluator"] == "RUNNING" and "AtomicPusher" not in states
        assert resumed.metadata.states["TwoTowerTrainer"] == "CACHED"
        assert resumed.metadata.states["Evaluator"] == "COMPLETE"
        assert resumed.outcome.blessed and not resumed.outcome.is_repeat

    def test_one_whole_version_more_is_served_and_nothing_half_written_stays(
        self, place, killed, resumed, client
    ):
        _, versions = killed
        assert place.versions() == [*versions, resumed.outcome.version.name]
        wait_until_available(client, int(resumed.outcome.version.name))
        store = open_store(place.root / "metadata.sqlite")
        states = {execution.id: execution.last_known_state for execution in store.get_executions()}
        assert STATES.RUNNING not in states.values()
        [canceled] = [number for number, state in states.items() if state == STATES.CANCELED]
        assert not [*(place.root / "artifacts").glob(f"*/*/{canceled}")]


class TestGone:
    def test_version_that_is_gone_is_missed_by_name(self, place):
        repeat = place.run(*TestKilled.SETTINGS)
        assert repeat.outcome.is_repeat
        shutil.rmtree(place.serving)
        with pytest.raises(DebutError, match=rf"{repeat.outcome.version}.*enable_cache=false"):
            place.run(*TestKilled.SETTINGS)
