"""The neighbours: who they are, how they are found and met, and questions over kept connections."""
