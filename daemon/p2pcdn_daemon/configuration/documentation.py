"""The table of settings in docs/configuration.md: `python -m p2pcdn_daemon.configuration.documentation` prints it."""

from __future__ import annotations

from p2pcdn_daemon.configuration.config import SETTINGS


def documentation_table() -> str:
    """The table of docs/configuration.md, in Markdown."""
    lines = ["| key | what it means | default | form | environment | flag |", "|---|---|---|---|---|---|"]
    for setting in SETTINGS.values():
        flag = f"`{setting.flag}`" + (f" / `--{setting.off}`" if setting.off else "")
        form = setting.kind.form + (", several" if setting.many else "")
        cells = (f"`{setting.key}`", setting.help, setting.default_for_docs(), form, f"`{setting.variable}`", flag)
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    print(documentation_table(), end="")
