"""The model: features, preprocessing, encoders, towers, losses, metrics, training and export.

Importing this package selects Keras 2. TensorFlow reads the variable at the first touch of
`tf.keras`, so every process (command, test, Beam worker, container) must import it early.
"""

import os

os.environ["TF_USE_LEGACY_KERAS"] = "1"
