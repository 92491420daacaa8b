# For csh and tcsh: `source @BIN@/activate.csh`. `deactivate` takes it back.

alias deactivate 'if ($?_OLD_VIRTUAL_PATH) setenv PATH "$_OLD_VIRTUAL_PATH"; unset _OLD_VIRTUAL_PATH; if ($?_OLD_VIRTUAL_PROMPT) set prompt="$_OLD_VIRTUAL_PROMPT:q"; unset _OLD_VIRTUAL_PROMPT; unsetenv VIRTUAL_ENV; unsetenv VIRTUAL_ENV_PROMPT; rehash; test "\!:*" == nondestructive || unalias deactivate'

# Whatever environment was active before, of whichever tool.
deactivate nondestructive

setenv VIRTUAL_ENV @VENV@
setenv VIRTUAL_ENV_PROMPT @PROMPT@

set _OLD_VIRTUAL_PATH="$PATH"
setenv PATH "${VIRTUAL_ENV}/@BIN@:${PATH}"

if (! $?VIRTUAL_ENV_DISABLE_PROMPT) then
    if ($?prompt) then
        set _OLD_VIRTUAL_PROMPT="$prompt:q"
        set prompt="(${VIRTUAL_ENV_PROMPT:q}) $prompt:q"
    endif
endif

rehash
