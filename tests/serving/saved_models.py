"""Tiny SavedModels that the serving tests load; small enough to be written in a second."""

import os
import time

import tensorflow as tf
from tensorflow_serving.apis import predict_pb2, prediction_log_pb2

Spec = tf.TensorSpec


def _function(*specs):
    return tf.function(input_signature=list(specs))


class Scale(tf.Module):
    """y = x * factor: the factor of the answer says which version gave it."""

    def __init__(self, factor):
        super().__init__()
        self.factor = tf.Variable(factor)

    @_function(Spec([None], tf.float32, "x"))
    def scale(self, x):
        return {"y": x * self.factor}


class Probe(tf.Module):
    """Signatures for the error table, and two that take as long as a test wants."""

    @_function(Spec([None, 2], tf.float32, "a"), Spec([None, 2], tf.int32, "b"))
    def two(self, a, b):
        return {"product": a * tf.cast(b, tf.float32), "first": a[:, 0]}

    @_function(Spec([None], tf.string, "text"))
    def echo(self, text):
        return {"plain": tf.identity(text), "raw_bytes": tf.identity(text)}

    @_function(Spec([None], tf.float32, "x"))
    def positive(self, x):
        with tf.control_dependencies([tf.debugging.assert_positive(x, message="give more")]):
            return {"y": tf.identity(x)}

    @_function(Spec([], tf.int32, "rounds"))
    def slow(self, rounds):
        def body(i, total):
            square = tf.random.uniform([200, 200])
            return i + 1, total + tf.reduce_sum(square @ square) * 1e-9

        start = [tf.constant(0), tf.constant(1.0)]
        return {"done": tf.while_loop(lambda i, _: i < rounds, body, start)[1]}

    @_function(Spec([], tf.string, "pipe"))
    def held(self, pipe):
        """Says that it has begun, then waits for a reader to open the named pipe."""
        with tf.control_dependencies([tf.io.write_file(pipe + ".begun", "")]):
            waited = tf.io.write_file(pipe, "x")
        with tf.control_dependencies([waited]):
            return {"done": tf.identity(pipe)}


class Shop(tf.Module):
    """The signatures of a recommender over five items, with arithmetic a test can redo."""

    ITEMS = ("apple", "bread", "cake", "dill", "egg")
    NEW = ("dill", "egg")

    @_function(
        Spec([None], tf.string, "user_id"),
        Spec([None, None], tf.string, "history"),
        Spec([None], tf.string, "profile"),
        Spec([], tf.int32, "k"),
        Spec([], tf.bool, "new_only"),
    )
    def recommend(self, user_id, history, profile, k, new_only):
        with tf.control_dependencies(
            [tf.debugging.assert_positive(k, message="k must be at least 1")]
        ):
            items = tf.constant(self.ITEMS)
        rows, count = tf.shape(user_id)[0], tf.size(items)
        seen = tf.reduce_any(items[None, :, None] == history[:, None, :], axis=2)
        hidden = seen | (new_only & ~tf.reduce_any(items[:, None] == tf.constant(self.NEW), 1))
        length = tf.cast(tf.strings.length(profile), tf.float32)[:, None]
        score = tf.where(hidden, -1.0, length + tf.range(5.0, 0.0, -1.0)[None, :])
        best = tf.math.top_k(score, tf.minimum(k, count))
        ids = tf.where(best.values < 0, "", tf.gather(items, best.indices))
        return {"item_id": tf.reshape(ids, [rows, -1]), "score": best.values}

    @_function(
        Spec([None], tf.string, "user_id"),
        Spec([None, None], tf.string, "history"),
        Spec([None], tf.string, "profile"),
        Spec([None], tf.string, "item_id"),
    )
    def score(self, user_id, history, profile, item_id):
        known = tf.reduce_any(item_id[:, None] == tf.constant(self.ITEMS), axis=1)
        with tf.control_dependencies([tf.debugging.Assert(tf.reduce_all(known), [item_id])]):
            length = tf.cast(tf.strings.length(user_id), tf.float32)
        return {
            "rating": length / 10.0,
            "score": length + tf.cast(tf.shape(history)[1], tf.float32),
        }

    @_function(
        Spec([None], tf.string, "user_id"),
        Spec([None, None], tf.string, "history"),
        Spec([None], tf.string, "profile"),
        Spec([None], tf.string, "item_id"),
    )
    def explain(self, user_id, history, profile, item_id):
        words = tf.strings.unicode_split(item_id, "UTF-8").to_tensor("")
        by_word = tf.ones_like(tf.strings.length(words), tf.float32)
        by_item = tf.cast(tf.strings.length(history), tf.float32)
        spoken = tf.reduce_sum(by_item, axis=1)
        one = tf.ones_like(spoken)
        return {
            "score": spoken + 3.0, "base": one, "evidence": one * 2.0, "history_item": history,
            "history_score": by_item, "word": words, "word_score": by_word,
            "rest": spoken - tf.reduce_sum(by_word, axis=1),
        }  # fmt: skip

    @_function(
        Spec([None], tf.string, "title"),
        Spec([None], tf.string, "category"),
        Spec([None], tf.string, "brand"),
        Spec([None], tf.string, "description"),
        Spec([None], tf.float32, "price"),
    )
    def embed_items(self, title, category, brand, description, price):
        lengths = [tf.strings.length(t) for t in (title, category, brand, description)]
        priced = tf.where(tf.math.is_nan(price), -1.0, price)
        return {"embedding": tf.stack([*(tf.cast(n, tf.float32) for n in lengths), priced], 1)}

    @_function(
        Spec([None], tf.string, "user_id"),
        Spec([None, None], tf.string, "history"),
        Spec([None], tf.string, "profile"),
    )
    def embed_users(self, user_id, history, profile):
        length = tf.cast(tf.strings.length(user_id), tf.float32)
        return {"embedding": length[:, None, None] * tf.ones([1, 2, 3])}

    @_function(Spec([None], tf.string, "item_id"), Spec([], tf.int32, "k"))
    def similar_items(self, item_id, k):
        items = tf.tile(tf.constant(self.ITEMS)[None, :k], [tf.size(item_id), 1])
        return {"item_id": items, "score": tf.ones_like(tf.strings.length(items), tf.float32)}

    @_function(
        Spec([None], tf.string, "item_id"),
        Spec([None], tf.string, "title"),
        Spec([None], tf.string, "category"),
        Spec([None], tf.string, "brand"),
        Spec([None], tf.string, "description"),
        Spec([None], tf.float32, "price"),
        Spec([], tf.int32, "k"),
    )
    def audience(self, item_id, title, category, brand, description, price, k):
        """Users named after what was asked for, the second a place short of the first."""
        parts = [item_id, title, category, brand, description]
        asked = tf.strings.join([*parts, tf.strings.as_string(price, precision=2)], "/")
        places = tf.tile(tf.strings.as_string(tf.range(k))[None, :], [tf.size(asked), 1])
        users = tf.strings.join([tf.tile(asked[:, None], [1, k]), places], "/")
        lengths = tf.cast(tf.strings.length(users), tf.float32)
        short = (tf.range(tf.size(item_id))[:, None] > 0) & (tf.range(k)[None, :] == k - 1)
        return {"user_id": tf.where(short, "", users), "score": lengths}


def save_scale(base, version, factor):
    """A version of `Scale`, complete before its folder has its name."""
    module = Scale(float(factor))
    beside = os.path.join(base, f"{version}.part")
    tf.saved_model.save(module, beside, signatures={"serving_default": module.scale})
    os.rename(beside, os.path.join(base, str(version)))


def save_probe(base):
    """The only version of `Probe`, without a `serving_default`."""
    module = Probe()
    signatures = {
        name: getattr(module, name) for name in ("two", "echo", "positive", "slow", "held")
    }
    tf.saved_model.save(module, os.path.join(base, "1"), signatures=signatures)


def save_shop(base, version=1):
    """A version of `Shop`."""
    module = Shop()
    names = (
        "recommend", "score", "explain", "embed_items", "embed_users", "similar_items", "audience",
    )  # fmt: skip
    signatures = {name: getattr(module, name) for name in names}
    tf.saved_model.save(module, os.path.join(base, str(version)), signatures=signatures)


def save_examples(base):
    """A v1 graph over `tf.Example`s: regress and classify signatures, score = 2 x."""
    v1 = tf.compat.v1
    with tf.Graph().as_default(), v1.Session() as session:
        source = v1.placeholder(tf.string, [None], name="examples")
        spec = {"x": tf.io.FixedLenFeature([1], tf.float32)}
        doubled = tf.multiply(v1.parse_example(source, spec)["x"], 2.0, name="doubled")
        labels = tf.fill(tf.shape(doubled), "double")
        info = v1.saved_model.build_tensor_info
        signature = v1.saved_model.build_signature_def
        signatures = {
            "regress": signature(
                {"inputs": info(source)}, {"outputs": info(doubled)}, "tensorflow/serving/regress"
            ),
            "classify": signature(
                {"inputs": info(source)},
                {"classes": info(labels), "scores": info(doubled)},
                "tensorflow/serving/classify",
            ),
        }
        builder = v1.saved_model.Builder(os.path.join(base, "1"))
        builder.add_meta_graph_and_variables(session, ["serve"], signature_def_map=signatures)
        builder.save()


def write_config(file, base_paths, policies=()):
    """A `--model_config_file` of models by name; with the policy of some of them."""
    entries = "".join(
        f'config {{ name: "{name}" base_path: "{path}" model_platform: "tensorflow"'
        f" {dict(policies).get(name, '')} }}"
        for name, path in base_paths.items()
    )
    file.write_text(f"model_config_list {{ {entries} }}")
    return file


def examples_request(kind, signature, *values):
    """A request of a kind over examples for the model `examples`."""
    request = kind()
    request.model_spec.name = "examples"
    request.model_spec.signature_name = signature
    for value in values:
        example = request.input.example_list.examples.add()
        example.features.feature["x"].float_list.value.append(value)
    return request


def float_request(values, *, model="scale", signature="", version=None):
    """A Predict for `Scale`."""
    request = predict_pb2.PredictRequest()
    request.model_spec.name = model
    request.model_spec.signature_name = signature
    if version is not None:
        request.model_spec.version.value = version
    request.inputs["x"].CopyFrom(tf.make_tensor_proto(values, tf.float32))
    return request


class Held:
    """A Predict on `Probe` that is in flight until it is let go."""

    def __init__(self, server, folder):
        pipe = os.path.join(folder, "pipe")
        os.mkfifo(pipe)
        self._pipe = pipe
        self.request = predict_pb2.PredictRequest()
        self.request.model_spec.name = "probe"
        self.request.model_spec.signature_name = "held"
        self.request.inputs["pipe"].CopyFrom(tf.make_tensor_proto(pipe))
        self.answer = server.prediction.Predict.future(self.request, timeout=120)
        while not os.path.exists(pipe + ".begun"):
            assert not self.answer.done(), self.answer.exception()
            time.sleep(0.01)

    def let_go(self):
        """Opens the pipe, and returns the answer."""
        with open(self._pipe, "rb"):
            return self.answer.result()


def write_warm_up(version_folder, records):
    """The stock warm-up file with these serialized records."""
    extra = os.path.join(version_folder, "assets.extra")
    os.makedirs(extra, exist_ok=True)
    with tf.io.TFRecordWriter(os.path.join(extra, "tf_serving_warmup_requests")) as writer:
        for record in records:
            writer.write(record)


def predict_record(request):
    """A warm-up record of a Predict."""
    log = prediction_log_pb2.PredictionLog()
    log.predict_log.request.CopyFrom(request)
    return log.SerializeToString()
