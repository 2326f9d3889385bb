"""Chat templates: untrusted Jinja code, rendered in a child process that can be killed."""
