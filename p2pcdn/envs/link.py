"""Puts a file of a tree into an environment: reflink, else hard link, else copy; what a pair of file systems cannot
is asked once.
"""
