"""What a node is told and where its files are: settings, places, indexes, keys, identity."""
