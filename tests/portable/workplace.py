"""A tiny shop, a run on it, and its stages again by any runner, each in processes of its own."""

import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from pipeline.beam_profiles import BeamRunner, beam_pipeline_args
from tests.end_to_end.running import small
from tests.end_to_end.shop import Shop, write_shop
from tests.portable.pool import REPOSITORY, environment
from tests.portable.stages import DESCRIBING
from tests.tiny_bert import write_tiny_bert

# A pipeline whose worker can't start waits for ever.
SECONDS = 1500
LANES = (
    ["DataFolderExampleGen", "StatisticsInteractions", "TransformInteractions", "Evaluator"],
    ["StatisticsCatalogue", "TransformCatalogue", DESCRIBING],
)


@dataclass(frozen=True)
class Workplace:
    """Where a lane of tests works."""

    shop: Shop
    encoder: Path
    root: Path
    again: Path

    @classmethod
    def make(cls, folder: Path) -> "Workplace":
        return cls(
            write_shop(folder / "shop"), write_tiny_bert(folder / "bert"), folder / "root",
            folder / "again",
        )  # fmt: skip

    def run(self, runner: BeamRunner, flags: Sequence[str] = ()) -> "subprocess.Popen[str]":
        """`debut run`."""
        settings = [
            *small(self.shop.folder, self.encoder), f"run.beam_runner={runner}",
            f"run.beam_args=[{', '.join(flags)}]",
        ]  # fmt: skip
        options = [word for setting in settings for word in ("--set", setting)]
        return _started("pipeline.cli", "run", "--root", str(self.root), *options)

    def stages(
        self, name: str, runner: BeamRunner, flags: Sequence[str] = (),
        other_flags: Sequence[str] | None = None,
    ) -> Path:  # fmt: skip
        """Run the stages again, both lanes at the same time; the folder of what they wrote.

        The second lane may have flags of its own.
        """
        output = self.again / name
        items = ("--items", str(self.shop.folder / "items.csv"))
        lanes = [
            _started(
                "tests.portable.stages", str(self.root), str(output), *lane, *items, "--",
                *beam_pipeline_args(runner, given),
            )
            for lane, given in zip(LANES, (flags, other_flags or flags), strict=True)
        ]  # fmt: skip
        try:
            for lane in lanes:
                finished(lane)
        finally:
            for lane in lanes:
                lane.kill()
        return output


def finished(process: "subprocess.Popen[str]", *, code: int = 0) -> str:
    """Waits for the end and checks how it ended; what was said."""
    try:
        said, _ = process.communicate(timeout=SECONDS)
    finally:
        process.kill()
    assert process.returncode == code, said[-4000:]
    return said


def _started(module: str, *arguments: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-m", module, *arguments],
        cwd=REPOSITORY, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        text=True,
    )  # fmt: skip
