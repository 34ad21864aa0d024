"""Front ends and augmentations, batched torch code."""
