"""A registry of pushed models as files, for runners whose metadata TFX can't ask.

Each pushed version has a folder with the trained model and the statistics of its data, copied:
Kubeflow's launcher refuses an output artifact that points at another run's folder. It lies on the
volume that versions are pushed to. The labels beside those versions say which one is stable, so
that a promotion counts here too.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from components.locks import held
from components.whole_folders import clear, put_at_once, remove_at_once, written_beside
from serving.version_labels import STABLE, read_labels, versions_on_disk

MODEL: Final = "model"
_RECORD: Final = "record.json"


@dataclass(frozen=True)
class Entry:
    """What is kept of one pushed version.

    Attributes:
        version: number of its folder among the pushed ones.
        label: `stable` or `canary`, as it was pushed.
        span: newest span of the data that its model was trained on; 0 where there are none.
        properties: of each artifact, what a reader needs beside its files.
        folder: holds a folder for each artifact.
    """

    version: int
    label: str
    span: int
    properties: Mapping[str, Mapping[str, str | int]]
    folder: Path

    def copy(self, artifact: str, target: Path) -> None:
        """Copy the files of an artifact; `target` may be there already."""
        shutil.copytree(self.folder / artifact, target, dirs_exist_ok=True)


@dataclass(frozen=True)
class Registry:
    """The entries below a folder.

    Attributes:
        folder: of the registry; made at the first entry.
        pushed: the folder that versions are pushed to.
    """

    folder: Path
    pushed: Path

    def entries(self) -> list[Entry]:
        """All of them, oldest first."""
        if not self.folder.is_dir():
            return []
        found = [path for path in self.folder.iterdir() if path.name.isdigit()]
        return [_read(path) for path in sorted(found, key=lambda path: int(path.name))]

    def served(self) -> Entry | None:
        """The entry behind the stable version; None before the first push.

        Where the stable version has none, as after an update of products, it is the newest one
        before it that was pushed as stable.
        """
        stable = read_labels(self.pushed).get(STABLE)
        if stable is None:
            return None
        behind = [
            entry
            for entry in self.entries()
            if entry.version == stable or (entry.version < stable and entry.label == STABLE)
        ]
        return behind[-1] if behind else None

    def served_of_older_span(self, span: int) -> Entry | None:
        """The newest that was served and was trained on an older span; None where there is none."""
        stable = read_labels(self.pushed).get(STABLE)
        served = [e for e in self.entries() if e.label == STABLE or e.version == stable]
        return next((entry for entry in reversed(served) if 0 < entry.span < span), None)

    def add(
        self,
        version: int,
        *,
        label: str,
        span: int,
        artifacts: Mapping[str, Path],
        properties: Mapping[str, Mapping[str, str | int]],
    ) -> None:
        """Add an entry, which appears at once, and remove those whose version is gone.

        Adding a version again, as a task that is tried again does, changes nothing. It is done
        alone, so what is half-written there was left by a task that was killed, and goes.

        Args:
            version: number of the pushed version.
            label: that it was pushed with.
            span: of the data.
            artifacts: name to the folder that is copied.
            properties: name of an artifact to what a reader needs beside its files.
        """
        record = {"label": label, "span": span, "properties": properties}
        with held(self.folder.with_name(f".{self.folder.name}.lock")):
            clear(self.folder)
            if not (self.folder / str(version)).exists():
                self._write(version, json.dumps(record, indent=1), artifacts)
            self._prune()

    def _write(self, version: int, record: str, artifacts: Mapping[str, Path]) -> None:
        self.folder.mkdir(exist_ok=True)
        with written_beside(self.folder) as incoming:
            for name, source in artifacts.items():
                shutil.copytree(source, incoming / name)
            (incoming / _RECORD).write_text(record, encoding="utf-8")
            put_at_once(incoming, self.folder / str(version))

    def _prune(self) -> None:
        there = set(versions_on_disk(self.pushed))
        for entry in self.entries():
            if entry.version not in there:
                remove_at_once(entry.folder)


def _read(folder: Path) -> Entry:
    record = json.loads((folder / _RECORD).read_text(encoding="utf-8"))
    return Entry(
        version=int(folder.name),
        label=record["label"],
        span=record["span"],
        properties=record["properties"],
        folder=folder,
    )
