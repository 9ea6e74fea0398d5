"""Beam's workers get no environment from us, only our pickles: those must bring Keras 2 along."""

import json
import os
import subprocess
import sys

SCRIPT = """
import json, os, sys
import apache_beam as beam
from apache_beam.options.pipeline_options import PipelineOptions
from models.metrics import recall
from pipeline.beam_profiles import beam_pipeline_args

def look(_, ours):
    import os
    import tensorflow as tf
    return os.getpid(), tf.keras.layers.Layer.__module__, ours(rank=1, k=1)

# Importing our code has set it, and local workers would inherit it.
del os.environ["TF_USE_LEGACY_KERAS"]
options = PipelineOptions(beam_pipeline_args("multi_process", ["--direct_num_workers=1"]))
with beam.Pipeline(options=options) as pipeline:
    _ = (
        pipeline | beam.Create([0]) | beam.Map(look, ours=recall) | beam.Map(json.dumps)
        | beam.io.WriteToText(sys.argv[1], num_shards=1, shard_name_template="")
    )
print(os.getpid())
"""


def test_beam_workers_see_keras_2(tmp_path):
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(tmp_path / "seen")],
        check=True,
        env={name: value for name, value in os.environ.items() if name != "TF_USE_LEGACY_KERAS"},
        stdout=subprocess.PIPE,
        text=True,
        timeout=600,
    )
    worker, keras, ours = json.loads((tmp_path / "seen").read_text())
    assert worker != int(done.stdout) and ours == 1.0
    assert keras.startswith("tf_keras.")
