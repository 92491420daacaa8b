"""`zephyr completion`: what a shell evaluates so that it completes zephyr's words."""

from __future__ import annotations

import sys
from argparse import ArgumentParser

from p2pcdn_shim.zephyr.command_line.call import Call

DESCRIPTION = """Prints what makes your shell complete zephyr's commands and flags, and the names of environments, of
groups, extras and locked packages of the project: `eval "$(zephyr completion bash)"` in ~/.bashrc, the same with zsh in
~/.zshrc, `zephyr completion fish | source` in ~/.config/fish/config.fish."""

# At each Tab, `completing.py` is asked about all words up to the one that is being typed. What comes back are lines: a
# word, a tab, what it means; or `:files` or `:commands`, which the shell knows better.
SCRIPTS = {
    "bash": """_zephyr() {
    local line word=${COMP_WORDS[COMP_CWORD]}
    COMPREPLY=()
    while IFS= read -r line; do
        case $line in
            :files) compopt -o default -o bashdefault ;;
            :commands) COMPREPLY+=($(compgen -c -- "$word")) ;;
            *) COMPREPLY+=("${line%%$'\\t'*}") ;;
        esac
    done < <(command zephyr completion --words -- "${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null)
}
complete -F _zephyr zephyr
""",
    "zsh": """_zephyr() {
    local line
    local -a found
    for line in "${(@f)$(command zephyr completion --words -- "${(@)words[2,CURRENT]}" 2>/dev/null)}"; do
        case $line in
            :files) _files ;;
            :commands) _command_names -e ;;
            ?*) found+=("${${line%%$'\\t'*}//:/\\\\:}:${line#*$'\\t'}") ;;
        esac
    done
    (( $#found )) && _describe -V zephyr found
}
(( $+functions[compdef] )) || { autoload -Uz compinit && compinit; }
compdef _zephyr zephyr
""",
    "fish": """function __zephyr_words
    set -l typed (commandline -opc)[2..] (commandline -ct)
    for line in (command zephyr completion --words -- $typed 2>/dev/null)
        switch $line
            case :files
                __fish_complete_path (commandline -ct)
            case :commands
                __fish_complete_command
            case '*'
                echo $line
        end
    end
end
complete -c zephyr -f -k -a '(__zephyr_words)'
""",
}


def arguments(parser: ArgumentParser) -> None:
    parser.add_argument("shell", choices=(*SCRIPTS,), metavar="bash|zsh|fish", help="The shell it is for.")


def run(call: Call) -> int:
    sys.stdout.write(SCRIPTS[call.options.shell])
    return 0
