"""Judges of the bundled models."""
