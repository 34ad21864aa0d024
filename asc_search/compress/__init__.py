"""Compression: pruning to smaller widths, and the type weights are stored in."""
