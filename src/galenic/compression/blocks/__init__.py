"""The one walk over a model block by block, with the statistics that methods read on it."""
