"""Text encoders: BERT with its tokenizer, the lexical path beside it, and their training."""
