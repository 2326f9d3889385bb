"""Text encoders (BERT-like): their folders and the bundled MiniLM."""
