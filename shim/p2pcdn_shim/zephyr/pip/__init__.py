"""`zephyr pip`: pip's command line, in pip's words, on the store and the sandbox of your node.

errors.py, voice.py                     what goes wrong, and how it is said
configuration.py, options.py, cli.py    pip.conf and PIP_*, the options, the door
target.py, installed.py                 the environment that is worked on, and what is installed there
controls.py, asked.py, files.py         which files may be taken; what was asked for, on the command line and in files
link.py, web.py, finder.py              files on pages, and how they are fetched and chosen
wheels.py, metadata.py, building.py     what wheels and sources say of themselves; wheels made of sources
resolving.py, conflict.py               which versions; why none
change.py, install.py, uninstall.py     an environment changed in place, all or nothing
commands/                               one file a command
"""
