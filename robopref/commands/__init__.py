"""What the command line runs: one module a verb, each a dataclass with `run()`."""
