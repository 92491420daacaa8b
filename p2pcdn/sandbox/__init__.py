"""A process that has nothing but what it is given: `spec.py` says what, `launcher.py` sees to it, `run.py` runs it.

This file imports nothing: the launcher lies in this package too, and has to be ready within milliseconds.
"""
