"""Networks: what they are (spec), what they cost (cost), and how they are built (network)."""
