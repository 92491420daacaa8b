@echo off
rem For cmd.exe: Scripts\activate.bat. `deactivate` takes it back.

if defined _OLD_VIRTUAL_PATH set "PATH=%_OLD_VIRTUAL_PATH%"
if defined _OLD_VIRTUAL_PROMPT set "PROMPT=%_OLD_VIRTUAL_PROMPT%"

set "VIRTUAL_ENV=@VENV@"
set "VIRTUAL_ENV_PROMPT=@PROMPT@"

set "_OLD_VIRTUAL_PATH=%PATH%"
set "PATH=%VIRTUAL_ENV%\Scripts;%PATH%"

if defined PYTHONHOME set "_OLD_VIRTUAL_PYTHONHOME=%PYTHONHOME%"
set PYTHONHOME=

if not defined PROMPT set PROMPT=$P$G
if not defined VIRTUAL_ENV_DISABLE_PROMPT (
    set "_OLD_VIRTUAL_PROMPT=%PROMPT%"
    set "PROMPT=(%VIRTUAL_ENV_PROMPT%) %PROMPT%"
)
