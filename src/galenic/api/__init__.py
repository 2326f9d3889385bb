"""The public Python API, which offers what the command line does; one module per topic.

The functions validate their arguments and return typed results; the work is done in the other
packages. `galenic.__getattr__` loads the names on first use.
"""
