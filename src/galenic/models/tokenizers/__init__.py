"""BPE tokenizers read directly from their files, and reducing a vocabulary."""
