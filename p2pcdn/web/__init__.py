"""What each URL answers: the index face for clients on this machine, and the control face; the peer face is the swarm's."""
