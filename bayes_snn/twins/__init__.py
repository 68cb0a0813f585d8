"""Twins: chips that have learned how another chip answers."""
