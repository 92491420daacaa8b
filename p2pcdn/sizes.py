"""Sizes as people read them."""

from __future__ import annotations


def format_size(size_bytes: int | float) -> str:
    """Three figures and a decimal unit: "0 B", "999 B", "1.2 GB"."""
    amount = float(size_bytes)
    for unit in ("B", "kB", "MB", "GB"):
        if amount < 999.5:
            return f"{amount:.0f} {unit}" if unit == "B" or amount >= 99.95 else f"{amount:.1f} {unit}"
        amount /= 1000
    return f"{amount:.1f} TB"
