"""The models that the conformance table asks; `python -m tests.serving.conformance.models DIR`.

Written into a folder with a `models.config` that serves them, for the embedded server or for any
other that is to be held to the table.
"""

import shutil
import sys
from pathlib import Path

import tensorflow as tf
import tensorflow_text
from tensorflow.core.protobuf import saved_model_pb2

v1 = tf.compat.v1
Spec = tf.TensorSpec

NAMES = ("line", "kinds", "plain", "words", "dtypes", "defaults")

DTYPES = {
    "f16": tf.float16,
    "bf16": tf.bfloat16,
    "f32": tf.float32,
    "f64": tf.float64,
    "i8": tf.int8,
    "i16": tf.int16,
    "i32": tf.int32,
    "i64": tf.int64,
    "u8": tf.uint8,
    "u16": tf.uint16,
    "u32": tf.uint32,
    "u64": tf.uint64,
    "bool": tf.bool,
    "c64": tf.complex64,
    "c128": tf.complex128,
}

# Positions are token ids, and the table names them.
VOCABULARY = (
    *("[PAD]", "[UNK]", "[CLS]", "[SEP]", "hello", "world", "##s", "the", "want", "##want"),
    *("##ed", "wa", "un", "runn", "##ing", ",", "low", "lowest"),
)


def _function(*specs):
    return tf.function(input_signature=list(specs))


def save_line(base: Path, version: int) -> None:
    """y = x / 2 + 1 + version, a v1 graph with signatures over `tf.Example` too."""
    with tf.Graph().as_default(), v1.Session() as session:
        slope = v1.get_variable("slope", initializer=0.5)
        start = v1.get_variable("start", initializer=1.0 + version)
        point = v1.placeholder(tf.float32, [None], name="point")
        height = tf.add(slope * point, start, name="height")
        examples = v1.placeholder(tf.string, [None], name="examples")
        features = {
            "x": tf.io.FixedLenFeature([1], tf.float32),
            "x2": tf.io.FixedLenFeature([1], tf.float32, default_value=[0.0]),
        }
        y = tf.add(slope * v1.parse_example(examples, features)["x"], start, name="y")
        labels = tf.tile([["neg", "pos"]], [tf.shape(y)[0], 1], name="labels")
        scores = tf.concat([-y, y], 1, name="scores")
        serialized = {"inputs": examples}
        signatures = {
            "serving_default": _signature({"x": point}, {"y": height}, "predict"),
            "regress": _signature(serialized, {"outputs": y}, "regress"),
            "classify": _signature(serialized, {"scores": y}, "classify"),
            "classify_both": _signature(
                serialized, {"classes": labels, "scores": scores}, "classify"
            ),
            "classify_labels": _signature(serialized, {"classes": labels}, "classify"),
            "odd_method": _signature({"x": point}, {"y": height}, "guess"),
        }
        session.run(v1.global_variables_initializer())
        builder = v1.saved_model.Builder(str(base / str(version)))
        builder.add_meta_graph_and_variables(session, ["serve"], signature_def_map=signatures)
        builder.save()


def _signature(inputs, outputs, method):
    info = v1.saved_model.build_tensor_info
    return v1.saved_model.build_signature_def(
        {name: info(tensor) for name, tensor in inputs.items()},
        {name: info(tensor) for name, tensor in outputs.items()},
        f"tensorflow/serving/{method}",
    )


class Kinds(tf.Module):
    """Inputs and outputs of several kinds, and graphs that fail on purpose."""

    @_function(
        Spec([None], tf.string, "s"),
        Spec([None, 3], tf.int32, "i"),
        Spec([None, 2], tf.float32, "f"),
        Spec([None], tf.bool, "b"),
        Spec([], tf.float32, "k"),
    )
    def serving_default(self, s, i, f, b, k):
        return {
            "s_out": tf.strings.join([s, "!"]),
            "s_bytes": tf.strings.join([s, "#"]),
            "two_d": f * k,
            "i_sum": tf.reduce_sum(i, 1),
            "k_out": k * 2.0,
            "not_b": tf.logical_not(b),
            "i64": tf.cast(i, tf.int64),
        }

    @_function(Spec([None, 2], tf.float32, "f"), Spec([None, 2], tf.int32, "i"))
    def two(self, f, i):
        return {"prod": f * tf.cast(i, tf.float32), "rows": f[:, 0]}

    @_function(Spec([], tf.float32, "k"))
    def scalar(self, k):
        return {"out": k * 2.0}

    @_function(Spec([None], tf.float32, "x"))
    def checked(self, x):
        with tf.control_dependencies([tf.debugging.assert_positive(x, message="x is too small")]):
            return {"y": x * 1.0}

    @_function(Spec([None], tf.string, "s"))
    def echo(self, s):
        return {"out": tf.identity(s)}

    @_function(Spec([None], tf.string, "s"))
    def echo_bytes(self, s):
        return {"out_bytes": tf.identity(s)}

    @_function(Spec([None], tf.float64, "x"))
    def casts(self, x):
        names = ("f32", "i32", "i64", "u8", "f16", "i8", "u16", "u32", "u64", "i16")
        out = {name: tf.cast(x, DTYPES[name]) for name in names}
        return out | {"f64": x * 1.0, "bool": x > 0.0}

    @_function(Spec([None], tf.float32, "x"))
    def f32(self, x):
        return {"y": x * 1.0}

    @_function(Spec([None], tf.int64, "x"))
    def i64(self, x):
        return {"y": x * 1}

    @_function(Spec(None, tf.float32, "x"))
    def any_rank(self, x):
        return {"y": x * 1.0}

    @_function(Spec([], tf.int32, "rounds"))
    def slow(self, rounds):
        def body(i, total):
            square = tf.random.uniform([300, 300])
            return i + 1, total + tf.reduce_sum(square @ square) * 1e-9

        start = [tf.constant(0), tf.constant(1.0)]
        return {"done": tf.while_loop(lambda i, _: i < rounds, body, start)[1]}

    @_function(Spec([None], tf.float32, "x"))
    def inverse(self, x):
        return {"y": tf.linalg.inv(tf.reshape(x, [1, 1]))}

    @_function(Spec([None], tf.int32, "idx"))
    def pick(self, idx):
        return {"y": tf.gather(tf.constant([10.0, 20.0, 30.0]), idx)}

    @_function(Spec([2], tf.float32, "x"))
    def pair(self, x):
        return {"y": x * 1.0}

    @_function(Spec([], tf.string, "text"))
    def verbose(self, text):
        with tf.control_dependencies([tf.debugging.assert_equal(text, "ok", message="L" * 1500)]):
            return {"y": tf.identity(text)}


KINDS = (
    *("serving_default", "two", "scalar", "checked", "echo", "echo_bytes", "casts", "f32"),
    *("i64", "any_rank", "slow", "inverse", "pick", "pair", "verbose"),
)


class Words(tf.Module):
    """A BERT tokenizer: tensorflow_text ops and an asset."""

    def __init__(self, vocabulary):
        super().__init__()
        self.vocabulary = tf.saved_model.Asset(vocabulary)
        self.tokenizer = tensorflow_text.BertTokenizer(vocabulary, lower_case=True)

    @_function(Spec([None], tf.string, "text"))
    def serving_default(self, text):
        ids = self.tokenizer.tokenize(text).merge_dims(-2, -1)
        return {"ids": ids.to_tensor(default_value=0, shape=[None, 8])}


def save_dtypes(path: Path) -> None:
    """For every dtype an identity and a cast (`to_...`) from double; and shapes that are odd."""
    signatures = {}

    def add(name, body, *specs):
        function = tf.function(body, input_signature=list(specs))
        signatures[name] = function.get_concrete_function()

    double, x = Spec([None], tf.float64, "x"), Spec([None], tf.float32, "x")
    for name, dtype in DTYPES.items():
        add(name, lambda x: {"y": tf.identity(x)}, Spec([None], dtype, "x"))
        if dtype == tf.bool:
            add("to_bool", lambda x: {"y": x > 0}, double)
        else:
            add(f"to_{name}", lambda x, dtype=dtype: {"y": tf.cast(x, dtype)}, double)
    add("with_scalar", lambda x: {"y": x * 1.0, "n": tf.reduce_sum(x)}, x)
    add("two_lengths", lambda x: {"y": x * 1.0, "z": tf.concat([x, x], 0)}, x)
    add(
        "nested_bytes",
        lambda s: {"out_bytes": tf.identity(s), "plain": tf.identity(s)},
        Spec([None, None], tf.string, "s"),
    )
    add(
        "length",
        lambda image_bytes: {"len": tf.strings.length(image_bytes)},
        Spec([None], tf.string, "image_bytes"),
    )
    add("no_inputs", lambda: {"y": tf.constant([1.0, 2.0])})
    add("matrix", lambda x: {"y": x * 1.0}, Spec([None, None], tf.float32, "x"))
    tf.saved_model.save(tf.Module(), str(path), signatures=signatures)


def _save(module: tf.Module, path: Path, names) -> None:
    signatures = {name: getattr(module, name) for name in names}
    tf.saved_model.save(module, str(path), signatures=signatures)


def _with_default(source: Path, path: Path) -> None:
    """A copy of `Kinds` whose signature `two` has a default for its input i."""
    shutil.copytree(source, path)
    file = path / "saved_model.pb"
    model = saved_model_pb2.SavedModel.FromString(file.read_bytes())
    default = tf.make_tensor_proto([[10, 10]], dtype=tf.int32)
    model.meta_graphs[0].signature_def["two"].defaults["i"].CopyFrom(default)
    file.write_bytes(model.SerializeToString())


def write(folder: Path) -> Path:
    """Writes every model into an empty folder and returns the `models.config` that serves them."""
    for version in (1, 2):
        save_line(folder / "line", version)
    kinds = Kinds()
    _save(kinds, folder / "kinds" / "1", KINDS)
    tf.saved_model.save(kinds, str(folder / "plain" / "1"), signatures={"only": kinds.f32})
    vocabulary = folder / "vocabulary.txt"
    vocabulary.write_text("\n".join(VOCABULARY))
    _save(Words(str(vocabulary)), folder / "words" / "1", ["serving_default"])
    save_dtypes(folder / "dtypes" / "1")
    _with_default(folder / "kinds" / "1", folder / "defaults" / "1")
    config = folder / "models.config"
    every = {"line": "model_version_policy { all {} }"}
    entries = "".join(
        f'  config {{ name: "{name}" base_path: "{folder / name}" model_platform: "tensorflow"'
        f" {every.get(name, '')} }}\n"
        for name in NAMES
    )
    config.write_text(f"model_config_list {{\n{entries}}}\n")
    return config


def write_stories(folder: Path) -> None:
    """Writes the model folders that the stories name: whole ones, broken ones, an empty one."""
    for name, versions in (("store", (1, 2, 3)), ("line", (1, 2))):
        for version in versions:
            save_line(folder / name, version)
    (folder / "corrupt" / "1").mkdir(parents=True)
    (folder / "corrupt" / "1" / "saved_model.pb").write_bytes(b"\xff" * 40)
    (folder / "hollow" / "1").mkdir(parents=True)
    (folder / "empty").mkdir()


if __name__ == "__main__":
    print(write(Path(sys.argv[1]).absolute()))
