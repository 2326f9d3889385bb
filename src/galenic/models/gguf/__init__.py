"""GGUF files: header, names, tokenizer, reading and writing. Folders are read outside."""
