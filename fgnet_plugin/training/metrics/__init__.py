"""Metrics of a training in progress."""
