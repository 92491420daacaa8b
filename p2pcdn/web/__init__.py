"""What each URL answers: the index face for clients on this machine, the peer face, and the control face."""
