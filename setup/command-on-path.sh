#!/usr/bin/env bash
# Puts the command `control` on the PATH of this very shell line: a link in the first folder of the
# PATH that may be written, by sudo where that needs no question. Never replaces another program: only
# a link to some .venv/bin/control, such as one of an earlier folder.
set -euo pipefail
cd "$(dirname "$0")/.."
target=$PWD/.venv/bin/control

found=$(command -v control || true)
if [[ -n $found && $(readlink -f "$found") == "$(readlink -f "$target")" ]]; then
    exit 0
fi
link_into() { # folder, command prefix…
    local folder=$1 && shift
    if [[ -L $folder/control ]]; then
        [[ $(readlink "$folder/control") == */.venv/bin/control ]] || return 1
    elif [[ -e $folder/control ]]; then
        return 1
    fi
    "$@" ln -sfn "$target" "$folder/control" 2>/dev/null
}
IFS=: read -ra folders <<<"$PATH"
for folder in /usr/local/bin "$HOME/.local/bin" "$HOME/bin"; do
    [[ " ${folders[*]} " == *" $folder "* && -d $folder && -w $folder ]] || continue
    link_into "$folder" env && { echo "✓ control is on the PATH ($folder/control)"; exit 0; }
done
if [[ $(id -u) -ne 0 && " ${folders[*]} " == *" /usr/local/bin "* ]] && sudo -n true 2>/dev/null; then
    link_into /usr/local/bin sudo && { echo "✓ control is on the PATH (/usr/local/bin/control)"; exit 0; }
fi
echo "No folder of the PATH can be written. Type this once, then use control as shown in the README:"
echo "    export PATH=\"$PWD/.venv/bin:\$PATH\""
