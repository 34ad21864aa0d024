"""Studies: a run folder, the search with its rungs, the front, and retraining."""
