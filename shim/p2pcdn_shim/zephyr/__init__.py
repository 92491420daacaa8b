"""zephyr: the package and environment manager. Nothing is imported here, so that `zephyr --version` costs nothing."""
