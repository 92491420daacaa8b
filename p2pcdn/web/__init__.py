"""What each URL answers: the index face for clients of this machine, and the control face for our own commands."""
