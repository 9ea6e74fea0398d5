"""Configuration files of the stock server: text protos, read and checked."""
