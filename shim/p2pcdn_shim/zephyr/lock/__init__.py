"""The project's lock: read, made anew, shown as a graph, written down as a requirements file."""
