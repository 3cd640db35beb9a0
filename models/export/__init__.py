"""Turns a pipeline folder of diffusers into a bundle: python -m export --pipeline FOLDER --out BUNDLE, run from models/."""
