"""Where the nodes of a study are done: one file an engine."""
