"""Chat templates of models: Jinja of strangers, rendered in a process that can be ended."""
