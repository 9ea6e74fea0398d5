"""A random BERT of 2 layers and 16 wide, in the folder form of Hugging Face.

Its words lie far apart, so that texts which share words are near each other although nothing was
trained; real word pieces, punctuation and CJK characters are in its vocabulary.
"""

import json
import string
from pathlib import Path

import numpy as np
import numpy.typing as npt
from safetensors.numpy import load_file, save_file

Weights = dict[str, npt.NDArray[np.float32]]

HIDDEN = 16
LAYERS = 2
POSITIONS = 512
_INTERMEDIATE = 32
_SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
_WORDS = """
a and box for heart in light of pink red set small the vintage with white holder bag blue retro
christmas metal glass sign design tea wall large lunch cake paper home green cream hot water bottle
clock alarm bake ##like ##ing ##s ##ed ##er ##ware ##light ##board party bunting union jack garden
kit mug card gift tag doll house wood ##en black silver gold star hanging decoration ceramic rabbit
night lamp candle t egg cup ivory drawer knob love round spot ##ty office electronics acme brand
steel cotton wool ##ish age occupation student engineer Box Heart Vintage Red White Set Christmas
"""
_LETTERS = (
    string.ascii_lowercase + string.ascii_uppercase + string.digits
    + "àáâãäåæçèéêëìíîïñòóôõöøùúûüýÿßœÉÈÜÖÄÅØÇÑİı" + "αβγδεζηθικλμνξοπρσςτυφχψωάΣΑΟΔΥΣΕ"
    + "абвгдежзийклмнопрстуфхцчшщъыьэюя" + "אבגדהוזחטיכלמנסעפצקרשת" + "ابتثجحخدذرزسشصضطظعغفقكلمنهوي"
    + "のかなアイウエオー"
)  # fmt: skip
_SYMBOLS = string.punctuation + "£€½™–—’“”…°×·•。、・！" + "❤👩💻🎁"
_CJK = "的一是不了人我在有他这中大来上国红茶杯盒子木包灯心爱家小白猫狗日本東京"


def vocabulary() -> list[str]:
    """Word pieces by id; [PAD] is 0."""
    pieces = [
        *_SPECIAL,
        *_SYMBOLS,
        *_CJK,
        *_LETTERS,
        *(f"##{letter}" for letter in _LETTERS),
        *_WORDS.split(),
    ]
    return list(dict.fromkeys(pieces))


def write_tiny_bert(folder: Path, *, lower_case: bool = True, seed: int = 0) -> Path:
    """Write config.json, vocab.txt, tokenizer_config.json and model.safetensors; return `folder`.

    The weights are in PyTorch's layout and depend on `seed` only.
    """
    folder.mkdir(parents=True, exist_ok=True)
    pieces = vocabulary()
    config = {
        "model_type": "bert",
        "architectures": ["BertModel"],
        "vocab_size": len(pieces),
        "hidden_size": HIDDEN,
        "num_hidden_layers": LAYERS,
        "num_attention_heads": 2,
        "intermediate_size": _INTERMEDIATE,
        "max_position_embeddings": POSITIONS,
        "type_vocab_size": 2,
        "hidden_act": "gelu",
        "pad_token_id": 0,
    }
    (folder / "config.json").write_text(json.dumps(config, indent=1))
    (folder / "vocab.txt").write_text("".join(f"{p}\n" for p in pieces), encoding="utf-8")
    (folder / "tokenizer_config.json").write_text(json.dumps({"do_lower_case": lower_case}))
    save_file(_weights(len(pieces), seed), folder / "model.safetensors", {"format": "pt"})
    return folder


def write_tiny_bert_h5(folder: Path, *, lower_case: bool = True, seed: int = 0) -> Path:
    """The same model with its weights in `tf_model.h5` instead, as TF BERT classes save it."""
    from transformers import BertConfig, TFBertModel
    from transformers.modeling_tf_pytorch_utils import load_pytorch_state_dict_in_tf2_model

    write_tiny_bert(folder, lower_case=lower_case, seed=seed)
    weights = folder / "model.safetensors"
    model = load_pytorch_state_dict_in_tf2_model(
        TFBertModel(BertConfig.from_pretrained(folder)), load_file(weights)
    )
    model.save_weights(folder / "tf_model.h5")
    weights.unlink()
    return folder


def _weights(vocabulary_size: int, seed: int) -> Weights:
    random = np.random.default_rng(seed)

    def normal(*shape: int, scale: float = 0.1) -> npt.NDArray[np.float32]:
        return random.normal(scale=scale, size=shape).astype(np.float32)

    def layer_norm(name: str) -> Weights:
        return {
            f"{name}.weight": np.ones(HIDDEN, np.float32),
            f"{name}.bias": np.zeros(HIDDEN, np.float32),
        }

    def dense(name: str, inputs: int, outputs: int) -> Weights:
        return {f"{name}.weight": normal(outputs, inputs), f"{name}.bias": normal(outputs)}

    weights = {
        "embeddings.word_embeddings.weight": normal(vocabulary_size, HIDDEN, scale=1.0),
        "embeddings.position_embeddings.weight": normal(POSITIONS, HIDDEN, scale=0.05),
        "embeddings.token_type_embeddings.weight": normal(2, HIDDEN, scale=0.05),
        **layer_norm("embeddings.LayerNorm"),
        **dense("pooler.dense", HIDDEN, HIDDEN),
    }
    for number in range(LAYERS):
        layer = f"encoder.layer.{number}"
        for part in ("query", "key", "value"):
            weights |= dense(f"{layer}.attention.self.{part}", HIDDEN, HIDDEN)
        weights |= dense(f"{layer}.attention.output.dense", HIDDEN, HIDDEN)
        weights |= layer_norm(f"{layer}.attention.output.LayerNorm")
        weights |= dense(f"{layer}.intermediate.dense", HIDDEN, _INTERMEDIATE)
        weights |= dense(f"{layer}.output.dense", _INTERMEDIATE, HIDDEN)
        weights |= layer_norm(f"{layer}.output.LayerNorm")
    return weights
