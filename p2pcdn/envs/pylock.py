"""pylock.toml (PEP 751): read and checked, selected from for one environment, written the same for the same lock."""
