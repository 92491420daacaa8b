"""`zephyr pip`: pip's command line, in pip's words, on zephyr's solver and the sandbox of your node.

cli.py, parser.py, options.py           the door; the options, each once
configuration.py                        pip.conf and PIP_*
voice.py, errors.py                     how it speaks, and what goes wrong
target.py, installed.py, selection.py   the environment that is worked on, and what is installed there
asked.py, files.py, locked.py           what was asked for: typed, in files, in lock files
controls.py, moments.py, tags.py        which kinds of files, of what age, for which platform
link.py, html_links.py                  a file somewhere; those of a page
web.py, credentials.py, nodes.py        how things come: by the command itself, or through the node
finder.py, judge.py                     which files there are of a project, and which can be taken
job.py                                  all of these for one command
sources.py, wheel_file.py, claims.py    links fetched, and what they say of themselves
building.py, build_system.py            sources on their way into the node's sandbox; what was built: wheel_cache.py
universe.py, resolving.py, outcome.py   what the solver chooses from; the search; what it comes to
conflict.py                             why nothing fits
making.py                               from what was asked for to wheels in hand
placing.py, change.py                   wheels become files of an environment, all or none
installing.py, uninstalling.py          and what is said of it; managed.py: where it may not be
checking.py, freezing.py, describing.py, report.py, lock_text.py      what is told
repositories.py, direct_urls.py, hashing.py                           git; PEP 610; hash-checking mode
commands/                               one file a command: USAGE, and `run`; its docstring is its help
"""
