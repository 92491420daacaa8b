"""The scenarios: a file each, with what it promises."""
