"""Counting, budget and verdict: what a network costs and whether that is allowed."""
