"""House-keeping: data, doctor, purge."""
