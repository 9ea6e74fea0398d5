"""The served model: its signatures and what they are made of, in stock TensorFlow ops."""
