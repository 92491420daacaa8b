# For csh and tcsh: `source @BIN@/activate.csh`. `deactivate` takes it back.

# csh replaces variables before it looks at a condition, so each step is a command of its own behind `&&`.
alias deactivate 'test $?_OLD_VIRTUAL_PATH != 0 && setenv PATH "$_OLD_VIRTUAL_PATH:q" && unset _OLD_VIRTUAL_PATH; test $?_OLD_VIRTUAL_PROMPT != 0 && set prompt="$_OLD_VIRTUAL_PROMPT:q" && unset _OLD_VIRTUAL_PROMPT; unsetenv VIRTUAL_ENV; unsetenv VIRTUAL_ENV_PROMPT; rehash; test "\!:*" == nondestructive || unalias deactivate'

# Whatever environment was active before, of whichever tool.
deactivate nondestructive

setenv VIRTUAL_ENV @VENV@
setenv VIRTUAL_ENV_PROMPT @PROMPT@

set _OLD_VIRTUAL_PATH="$PATH:q"
setenv PATH "${VIRTUAL_ENV:q}/@BIN@:${PATH:q}"

if (! $?VIRTUAL_ENV_DISABLE_PROMPT) then
    if ($?prompt) then
        set _OLD_VIRTUAL_PROMPT="$prompt:q"
        set prompt="(${VIRTUAL_ENV_PROMPT:q}) $prompt:q"
    endif
endif

rehash
