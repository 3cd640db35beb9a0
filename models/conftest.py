"""Lets `python -m pytest models` find the packages beside this file, from whichever folder it is called."""
