"""Training: windows and their features, augmentation in the batch, losses, metrics, and the one training loop."""
