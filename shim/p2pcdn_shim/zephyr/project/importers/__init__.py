"""Projects of other tools, read as what pyproject.toml can say: requirements.txt, poetry, pipenv. One file a tool."""
