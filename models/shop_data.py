"""What the pipeline hands to training: the catalogue, the users, and who bought what."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import tensorflow_transform as tft
from tfx.components.trainer.fn_args_utils import FnArgs

from models import features
from models.inheritance.quality import Ratings
from models.inheritance.variants import variant_groups
from models.interactions import Interactions, Users, read_interactions
from models.item_table import ItemTable, check_counts, read_item_table, read_popularity
from models.options import CATALOGUE_FILES, CATALOGUE_GRAPH_PATH, SPLIT_FILES, TrainerOptions
from models.training_state import Facts


@dataclass(frozen=True)
class ShopData:
    """What the pipeline hands to training.

    Attributes:
        table: the catalogue.
        splits: interactions by split.
        users: ids and profiles.
        train: interactions of the train split.
        everything: those of all splits.
        groups: equal for variants of one product, int32 [I].
    """

    table: ItemTable
    splits: dict[str, Interactions]
    users: Users
    train: Ratings
    everything: Ratings
    groups: npt.NDArray[np.int32]

    @property
    def is_implicit(self) -> bool:
        """Each interaction is a positive and there are no negatives, in whatever split.

        The train split alone may hold the highest rating only, where others were given too.
        """
        return all(part.is_implicit for part in self.splits.values())

    @property
    def span(self) -> int:
        """The newest span with interactions, 0 where there are no spans."""
        return max(int(part.span.max(initial=0)) for part in self.splits.values())

    @property
    def item_span(self) -> npt.NDArray[np.int32]:
        """The span of each item's first interaction, the newest where there is none: int32 [I]."""
        first = np.full(len(self.table), self.span, np.int32)
        for part in self.splits.values():
            np.minimum.at(first, part.item, part.span)
        return first

    def facts(self, options: TrainerOptions) -> Facts:
        """What a training on this data can go on from."""
        return Facts(
            architecture=options.architecture, implicit=self.is_implicit, splits=options.splits
        )

    @classmethod
    def read(cls, arguments: FnArgs, history_length: int) -> ShopData:
        """Read the Examples and vocabularies that TFX and `components.trainer` name."""
        given: dict[str, Any] = arguments.custom_config
        graph = tft.TFTransformOutput(given[CATALOGUE_GRAPH_PATH])
        popularity = read_popularity(tft.TFTransformOutput(arguments.transform_graph_path))
        table = read_item_table(given[CATALOGUE_FILES], graph, popularity)
        splits, users = read_interactions(given[SPLIT_FILES], table.ids, history_length)
        check_counts(table, splits)
        sizes = {"users": len(users), "items": len(table)}
        return cls(
            table=table,
            splits=splits,
            users=users,
            train=Ratings.of([splits[features.TRAIN]], **sizes),
            everything=Ratings.of(list(splits.values()), **sizes),
            groups=variant_groups(splits[features.TRAIN], table.terms),
        )
