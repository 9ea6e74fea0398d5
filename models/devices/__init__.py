"""Where the encoder is trained, and in which precision: on one device, on several, by workers."""
