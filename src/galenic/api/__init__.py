"""What `import galenic` offers, one file for each part: commands without the command line.

The functions check what they are given and return typed results; the work itself is done in the
other rooms. The names are loaded by `galenic.__getattr__` when they are first used.
"""
