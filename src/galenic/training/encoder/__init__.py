"""Training an encoder to choose among options."""
