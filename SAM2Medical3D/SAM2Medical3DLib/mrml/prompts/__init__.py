"""Markups that a user places in slice views, as prompts of a segment."""
