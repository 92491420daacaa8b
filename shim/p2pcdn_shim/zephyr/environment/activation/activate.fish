# For fish: `source @BIN@/activate.fish`. `deactivate` takes it back.

function deactivate -d 'Leaves the virtual environment'
    if set -q _OLD_VIRTUAL_PATH
        set -gx PATH $_OLD_VIRTUAL_PATH
        set -e _OLD_VIRTUAL_PATH
    end
    if set -q _OLD_VIRTUAL_PYTHONHOME
        set -gx PYTHONHOME $_OLD_VIRTUAL_PYTHONHOME
        set -e _OLD_VIRTUAL_PYTHONHOME
    end
    if functions -q _old_virtual_fish_prompt
        functions -e fish_prompt
        functions -c _old_virtual_fish_prompt fish_prompt
        functions -e _old_virtual_fish_prompt
    end
    set -e VIRTUAL_ENV
    set -e VIRTUAL_ENV_PROMPT
    if test "$argv[1]" != nondestructive
        functions -e deactivate
    end
end

# Whatever environment was active before, of whichever tool.
deactivate nondestructive

set -gx VIRTUAL_ENV @VENV@
set -gx VIRTUAL_ENV_PROMPT @PROMPT@

set -gx _OLD_VIRTUAL_PATH $PATH
set -gx PATH "$VIRTUAL_ENV/@BIN@" $PATH

if set -q PYTHONHOME
    set -gx _OLD_VIRTUAL_PYTHONHOME $PYTHONHOME
    set -e PYTHONHOME
end

if test -z "$VIRTUAL_ENV_DISABLE_PROMPT"; and functions -q fish_prompt
    functions -c fish_prompt _old_virtual_fish_prompt
    function fish_prompt
        # The prompt below may show how the last command ended.
        set -l ended $status
        printf '(%s) ' $VIRTUAL_ENV_PROMPT
        sh -c "exit $ended"
        _old_virtual_fish_prompt
    end
end
