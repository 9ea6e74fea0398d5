"""The model: features, preprocessing, encoders, towers, losses, metrics, training and export.

Importing this package selects Keras 2, and the kernels of NumPy's and SciPy's linear algebra.
TensorFlow reads the one variable at the first touch of `tf.keras`, OpenBLAS the other where it is
loaded, so every process (command, test, Beam worker, container) must import it early.
"""

import os

os.environ["TF_USE_LEGACY_KERAS"] = "1"

if os.uname().machine == "x86_64":
    # OpenBLAS 0.3.21 and 0.3.23, which come with SciPy 1.12 and NumPy 1.26, go by a list of models,
    # and compute on Intel's later ones as on a processor of 2004, at a fifth of the speed
    # (OpenMathLib/OpenBLAS#4267). Of a name that is none they go by what the processor can do.
    os.environ.setdefault("OPENBLAS_CORETYPE", "")
