"""What is trained of a model: one method, one file."""
