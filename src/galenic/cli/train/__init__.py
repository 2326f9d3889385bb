"""Commands that train: finetune, distill, encoder, merge, scan."""
