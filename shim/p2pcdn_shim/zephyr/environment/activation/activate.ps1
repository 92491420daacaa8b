# For PowerShell, on every platform: `. @BIN@/Activate.ps1`. `deactivate` takes it back.

function global:deactivate([switch] $NonDestructive) {
    if (Test-Path Variable:global:_OldVirtualPath) {
        $env:PATH = $global:_OldVirtualPath
        Remove-Variable _OldVirtualPath -Scope Global
    }
    if (Test-Path Variable:global:_OldVirtualPythonHome) {
        $env:PYTHONHOME = $global:_OldVirtualPythonHome
        Remove-Variable _OldVirtualPythonHome -Scope Global
    }
    if (Test-Path Function:global:_OldVirtualPrompt) {
        Copy-Item Function:global:_OldVirtualPrompt Function:global:prompt
        Remove-Item Function:global:_OldVirtualPrompt
    }
    Remove-Item Env:VIRTUAL_ENV -ErrorAction SilentlyContinue
    Remove-Item Env:VIRTUAL_ENV_PROMPT -ErrorAction SilentlyContinue
    if (-not $NonDestructive) {
        Remove-Item Function:global:deactivate
    }
}

# Whatever environment was active before.
deactivate -NonDestructive

$env:VIRTUAL_ENV = @VENV@
$env:VIRTUAL_ENV_PROMPT = @PROMPT@

$global:_OldVirtualPath = $env:PATH
$env:PATH = (Join-Path $env:VIRTUAL_ENV '@BIN@') + [System.IO.Path]::PathSeparator + $env:PATH

if ($env:PYTHONHOME) {
    $global:_OldVirtualPythonHome = $env:PYTHONHOME
    Remove-Item Env:PYTHONHOME
}

if (-not $env:VIRTUAL_ENV_DISABLE_PROMPT) {
    Copy-Item Function:global:prompt Function:global:_OldVirtualPrompt
    function global:prompt {
        Write-Host -NoNewline "($env:VIRTUAL_ENV_PROMPT) "
        _OldVirtualPrompt
    }
}
