"""asc-search: architecture and hyperparameter search for low-complexity acoustic scene classification."""

__version__ = "0.1.0"
