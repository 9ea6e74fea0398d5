from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import tensorflow as tf

from models.encoders.encoder import TextEncoder
from models.encoders.tokenizer import WordPieceTokenizer
from models.export.saved_graph import save_graph
from models.export.served import ServedModel
from models.few_shot.clock import ShopClock
from models.few_shot.evidence import FEATURES
from models.few_shot.weights import EvidenceWeights
from models.inheritance.kernel import ItemView, KernelSettings
from models.inheritance.quality import Ratings, item_quality
from models.interactions import Interactions, Profiles, Purchases
from models.item_table import ItemTable, read_item_table
from models.options import ModelOptions
from models.preprocessing import preprocess_catalogue
from models.purchase_chance import PurchaseChance
from models.shelf.admission import Admission
from models.shelf.filling import fill_shelf
from models.shelf.shelf import Shelf, ShelfData
from models.towers import item_features
from models.two_tower import TwoTower
from tests.models.oracle import Oracle
from tests.models.shop import NUM_USERS, OPTIONS, SIZE, item_id, make_shop, transform, user_id
from tests.tiny_bert import HIDDEN

MODEL_OPTIONS = ModelOptions(
    embedding_size=8,
    max_anchors=4096,
    anchors_per_item=5,
    teacher_regularization=4.0,
)
# What evidence is worth at 1, 2 and 5 interactions: made up, so that every term counts.
_RANDOM = np.random.default_rng(21)
EVIDENCE = EvidenceWeights(
    count=np.array([1, 2, 5], np.float32),
    center=_RANDOM.normal(size=(3, len(FEATURES))).astype(np.float32),
    precision=_RANDOM.uniform(0.3, 2.0, (3, len(FEATURES))).astype(np.float32),
    weight=_RANDOM.normal(scale=0.3, size=(3, len(FEATURES))).astype(np.float32),
    inherit=np.array([0.2, 0.3, 0.5], np.float32),
    own=np.array([0.1, -0.05, 0.2], np.float32),
    level=np.array([0.1, 0.2, 0.4], np.float32),
)
# Of a purchase, where items inherit, where they have scores of their own, and without history: of
# 1, the head, the popularity and the logit.
CHANCE = np.array(
    [[-1.2, 2.0, 0.5, 0.6], [0.3, -0.7, -0.3, 0.25], [0.4, -1.1, 0.8, 9.0]], np.float32
)
# Of each item's first interaction.
SPANS = (np.arange(SIZE) % 3 + 1).astype(np.int32)
SETTINGS = KernelSettings(ridge=0.5, order=0.7, side=0.1)


@pytest.fixture(scope="session")
def shop():
    return make_shop()


@pytest.fixture(scope="session")
def catalogue(shop, bert, tmp_path_factory):
    """Transform's output over the shop's catalogue, and the files of transformed items."""
    config = OPTIONS | {"encoder": str(bert.path)}
    # In another order than that of the ids: files come in any.
    rows = [shop.items[row] for row in np.random.default_rng(1).permutation(SIZE)]
    return transform(
        rows,
        lambda inputs: preprocess_catalogue(inputs, config),
        schema="catalogue",
        folder=tmp_path_factory.mktemp("catalogue"),
    )


@pytest.fixture(scope="session")
def table(shop, catalogue) -> ItemTable:
    graph, files = catalogue
    counts = np.bincount(shop.item, minlength=SIZE)
    return read_item_table(files, graph, {item_id(i): int(n) for i, n in enumerate(counts) if n})


@dataclass(frozen=True)
class Served:
    """A served model with random weights, what it was made of, and where it is saved."""

    module: ServedModel
    implicit: ServedModel
    model: TwoTower
    data: ShelfData
    table: ItemTable
    features: npt.NDArray[np.float32]
    view: ItemView
    settings: KernelSettings
    profiles: Profiles
    encoder: TextEncoder
    path: Path
    loaded: Any
    parts: dict[str, Any]

    def __call__(self, signature, **inputs):
        """Ask the saved model; answers as numpy arrays."""
        answer = self.loaded.signatures[signature](**inputs)
        return {name: value.numpy() for name, value in answer.items()}


def interactions_of(user, item, rating, *, after=0) -> Interactions:
    """One after the other, from a moment on."""
    return Interactions(
        user=user,
        item=item,
        rating=rating,
        timestamp=after + np.arange(len(user)),
        history=np.zeros((len(user), 0), np.int32),
        history_rating=np.zeros((len(user), 0), np.float32),
        propensity=np.full(len(user), np.nan, np.float32),
        span=np.zeros(len(user), np.int32),
    )


def fill(
    shop, table, model, features, view, profiles, *, options=MODEL_OPTIONS, rules=None
) -> tuple[ShelfData, Admission]:
    """The shelf of a catalogue that holds at least the items with interactions."""
    row_of = {item: row for row, item in enumerate(table.ids)}
    rows = np.array([row_of[item_id(item)] for item in shop.item], np.int32)
    interactions = interactions_of(shop.user, rows, shop.rating)
    held_out = interactions_of(
        np.array([user for user, _ in shop.held_out], np.int32),
        np.array([row_of[item_id(item)] for _, item in shop.held_out], np.int32),
        np.full(len(shop.held_out), 0.5, np.float32),
        after=len(rows),
    )
    together = [interactions, held_out]
    sizes = {"users": NUM_USERS, "items": len(table)}
    train = Ratings.of([interactions], **sizes)
    return fill_shelf(
        model,
        table,
        features,
        view,
        SETTINGS,
        train=train,
        train_quality=item_quality(train, view, SETTINGS, max_anchors=options.max_anchors),
        everything=Ratings.of(together, **sizes),
        purchases=Purchases.of(together, NUM_USERS),
        clock=ShopClock.of(np.concatenate([part.timestamp for part in together])),
        user_ids=np.array([user_id(user) for user in range(NUM_USERS)], object),
        profiles=profiles,
        options=options,
        span=SPANS[: len(table)],
        rules=rules,
    )


@pytest.fixture(scope="session")
def served(shop, catalogue, table, bert, tmp_path_factory) -> Served:
    """The whole served model of the shop, saved and loaded again.

    Its weights are random, so that every term of every formula counts.
    """
    folder = tmp_path_factory.mktemp("served")
    encoder = TextEncoder(bert)
    text = encoder(tf.constant(table.tokens))
    features = item_features(text, tf.constant(table.lexical)).numpy()
    view = table.view(text.numpy())
    model = TwoTower(
        features, size=8, price_buckets=4, profile_size=HIDDEN,
        mean_rating=float(shop.rating.mean()), mean_target=float(shop.rating.mean()),
        head="linear",
    )  # fmt: skip
    random = np.random.default_rng(11)
    for variable in model.trainable_variables:
        variable.assign_add(random.normal(scale=0.2, size=variable.shape))
    tokenizer = WordPieceTokenizer(bert)
    texts, of = np.unique(np.array(shop.profiles, object), return_inverse=True)
    tokens = tokenizer.encoder_input(tokenizer.pieces(tf.constant(texts)), 24)
    encoded = np.where((texts != b"")[:, np.newaxis], encoder(tokens), 0.0).astype(np.float32)
    profiles = Profiles(encoded, of.astype(np.int32))
    data, admission = fill(shop, table, model, features, view, profiles)
    users = folder / "users.txt"
    users.write_bytes(b"".join(user_id(user) + b"\n" for user in range(NUM_USERS)))
    shelf = Shelf(data, user_ids=users)
    parts = {
        "tokenizer": tokenizer,
        "item_encoder": encoder,
        "profile_encoder": encoder,
        "model": model,
        "shelf": shelf,
        "evidence": EVIDENCE,
        "catalogue_graph": catalogue[0],
        "max_tokens": 24,
    }
    module = ServedModel(**parts, chance=None)
    path = folder / "saved"
    save_graph(module, path, module.signatures())
    admission.save(path)
    return Served(
        module=module, implicit=ServedModel(**parts, chance=made_up_chance()), model=model,
        data=data, table=table, features=features, view=view, settings=SETTINGS,
        profiles=profiles, encoder=encoder,
        path=path, loaded=tf.saved_model.load(str(path)), parts=parts,
    )  # fmt: skip


@pytest.fixture(scope="session")
def as_saved(served, tmp_path_factory) -> Callable[[], Any]:
    """Gives tests that change its shelf the saved model as it was saved: one, loaded once.

    To load it takes seconds, to put its variables back no time.
    """
    loaded = tf.saved_model.load(str(served.path))
    checkpoint = tf.train.Checkpoint(loaded)
    written = checkpoint.write(str(tmp_path_factory.mktemp("as_saved") / "variables"))

    def put_back() -> Any:
        checkpoint.read(written).assert_consumed()
        return loaded

    return put_back


@pytest.fixture
def model(as_saved):
    """The saved model, whose shelf a test may change."""
    return as_saved()


def made_up_chance() -> PurchaseChance:
    """With weights that make every term count."""
    chance = PurchaseChance()
    [weights] = chance.variables
    weights.assign(CHANCE)
    return chance


def known_history(served, user):
    start, end = served.data.user_offset[user : user + 2]
    return served.data.user_items[start:end].tolist()


@pytest.fixture(scope="module")
def row_of(served):
    return {item: row for row, item in enumerate(served.table.ids)}


@pytest.fixture(scope="module")
def purchases(shop, row_of):
    """Users x rows, of the train split."""
    bought = np.zeros((NUM_USERS, SIZE))
    bought[shop.user, [row_of[item_id(item)] for item in shop.item]] = 1.0
    return bought


@pytest.fixture(scope="module")
def oracle(served, shop, row_of, purchases):
    """Of what is served: it knows all interactions."""
    everything = purchases.copy()
    for user, item in shop.held_out:
        everything[user, row_of[item_id(item)]] = 1.0
    return Oracle(
        served, everything, served.data.served.quality, reference=served.table.is_new,
        candidates=np.ones(SIZE, bool), anchors_per_item=MODEL_OPTIONS.anchors_per_item,
    )  # fmt: skip


@pytest.fixture(scope="module")
def bought(shop, row_of):
    """Rows each user has bought."""
    return [
        {row_of[item_id(item)] for item in shop.item[shop.user == user]}
        | {row_of[item_id(item)] for who, item in shop.held_out if who == user}
        for user in range(NUM_USERS)
    ]
