"""A process that has nothing but what it is given: `spec.py` says what, `run.py` runs it, `launcher.py` shuts the doors.

This file imports nothing: the launcher lies in this package too, and has to be ready within milliseconds.
"""
