"""What each URL answers: the index face for clients on this machine, and the control face. (The peer face: `swarm/`.)"""
