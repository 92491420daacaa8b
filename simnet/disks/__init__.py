"""Disks that lose, tear and reorder what was not synced."""
