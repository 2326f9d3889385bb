"""Commands that hand a model on: export, pack, unpack, pull, serve."""
