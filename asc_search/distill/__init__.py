"""Distillation: teachers, their cached logits, and subsets of them."""
