"""GGUF files: header, tensor names, tokenizer, reading and writing."""
