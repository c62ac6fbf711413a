"""Completion in bash, zsh and fish.

Completions are stored text of other users, so each must reach the shell as a single
word, with any characters.  zsh and fish quote what they insert; bash inserts it as
it is, so it is quoted here, as the quotes before the cursor require.
"""

import os
import sys
from typing import Any

import click
from click.shell_completion import CompletionItem, ShellComplete, add_completion_class

from ..text import one_line
from .bash_words import parse, quoted

#: The types of completions that are words: a whole word, and the start of one, after which no blank is inserted.
WORDS = ("plain", "part")

# $2 is the text that bash will replace: the part of the word since the last of $COMP_WORDBREAKS or an open quote.
_BASH = """\
%(complete_func)s() {
    local line typed="${COMP_LINE:0:COMP_POINT}"
    local errors=/dev/null
    [[ ${CIMAA_DEBUG:-0} == 0 ]] || errors=/dev/stderr
    COMPREPLY=()
    while IFS= read -r line; do
        case $line in
            file) compopt -o default ;;
            dir) compopt -o dirnames ;;
            plain,*) COMPREPLY+=("${line#plain,}") ;;
            part,*) COMPREPLY+=("${line#part,}"); compopt -o nospace ;;
        esac
    done <<< "$(env COMP_LINE="$typed" COMP_WORD="$2" %(complete_var)s=bash_complete "$1" 2>>"$errors")"
}
complete -o nosort -F %(complete_func)s %(prog_name)s
"""

_ZSH = """\
#compdef %(prog_name)s

%(complete_func)s() {
    local -a lines values shown parts parts_shown
    local type value help errors=/dev/null
    [[ ${CIMAA_DEBUG:-0} == 0 ]] || errors=/dev/stderr
    local -a typed=("${(@Q)words[1,CURRENT-1]}" "${(Q)PREFIX}")
    lines=("${(@f)$(env %(complete_var)s=zsh_complete "${typed[@]}" 2>>"$errors")}")
    for type value help in "${lines[@]}"; do
        case $type in
            file) compset -P '--*='; _files ;;
            dir) compset -P '--*='; _files -/ ;;
            plain) values+=("$value"); shown+=("$value${help:+  -- $help}") ;;
            part) parts+=("$value"); parts_shown+=("$value${help:+  -- $help}") ;;
        esac
    done
    compadd -l -V cimaa -d shown -a values
    compadd -l -V cimaa -S '' -d parts_shown -a parts
}

if [[ $zsh_eval_context[-1] == loadautofunc ]]; then
    %(complete_func)s "$@"
else
    compdef %(complete_func)s %(prog_name)s
fi
"""

# The token as it will be read, its open quote closed; else only the text before the first quote is sent: fish itself
# fish itself drops what does not match the rest.
_FISH = """\
function %(complete_func)s
    set -l words (commandline -xpc 2>/dev/null; or commandline -opc)
    set -l token (commandline -ct)
    set -l errors /dev/null
    test -n "$CIMAA_DEBUG" -a "$CIMAA_DEBUG" != 0; and set errors /dev/stderr
    set -l start (string unescape -- "$token"; or string unescape -- "$token'"; or string unescape -- "$token\\""
        or string match -r '^[^\\\\\\\\\\'"$]*' -- "$token")
    for line in (env %(complete_var)s=fish_complete $words "$start" 2>>$errors)
        switch $line
            case file
                __fish_complete_path $token
            case dir
                __fish_complete_directories $token
            case 'plain,*' 'part,*'
                string replace -r '^(plain|part),' '' -- $line
        end
    end
end
complete --keep-order --no-files --command %(prog_name)s --arguments '(%(complete_func)s)'
"""


class _Shell(ShellComplete):
    """The common part of the shells."""

    def get_completion_args(self) -> tuple[list[str], str]:
        """The words before the cursor, and the start of the one at the cursor."""
        return sys.argv[1:-1], sys.argv[-1]

    def get_completions(self, args: list[str], incomplete: str) -> list[CompletionItem[str]]:
        """The completions of the whole word; its start is ``incomplete``, also where that is ``--option=value``."""
        options = "--" not in args
        found = [
            item
            for item in super().get_completions(list(args), incomplete)
            # An argument that looks like an option is taken for one, unless -- precedes it.
            if not (item.argument and options and item.value.startswith("-"))
        ]
        if options and incomplete.startswith("--") and "=" in incomplete:
            start = incomplete[: incomplete.index("=") + 1]
            for item in found:
                item.value = start + item.value
        return found


class Bash(_Shell):
    """Completion in bash."""

    name = "bash"
    source_template = _BASH

    def get_completion_args(self) -> tuple[list[str], str]:
        """The words before the cursor, and the start of the one at the cursor."""
        line = os.environ["COMP_LINE"]
        whole = parse(line)
        start = max(len(line) - len(os.environ["COMP_WORD"]), whole.inside if whole.quote else 0)
        self.kept = parse(line[:start])
        return whole.words[1:-1], whole.words[-1]

    def format_completion(self, item: CompletionItem[Any]) -> str:
        """The text that replaces the part of the word which bash replaces."""
        if item.type not in WORDS:
            return item.type
        return f"{item.type},{quoted(item.value[len(self.kept.words[-1]) :], self.kept.quote)}"


class Zsh(_Shell):
    """Completion in zsh."""

    name = "zsh"
    source_template = _ZSH

    def format_completion(self, item: CompletionItem[Any]) -> str:
        """Three lines: the type, the word, and its description."""
        return f"{item.type}\n{item.value}\n{one_line(item.help or '')}"


class Fish(_Shell):
    """Completion in fish."""

    name = "fish"
    source_template = _FISH

    def get_completions(self, args: list[str], incomplete: str) -> list[CompletionItem[str]]:
        """The completions, without those that start with ~, which fish does not quote."""
        return [item for item in super().get_completions(args, incomplete) if not item.value.startswith("~")]

    def format_completion(self, item: CompletionItem[Any]) -> str:
        """The word, a tab, and its description."""
        if item.type not in WORDS:
            return item.type
        return f"{item.type},{item.value}" + (f"\t{one_line(item.help)}" if item.help else "")


SHELLS: dict[str, type[_Shell]] = {shell.name: shell for shell in (Bash, Zsh, Fish)}


def register() -> None:
    """Replace the shells of click, which insert some texts so that the shell executes them."""
    for shell in SHELLS.values():
        add_completion_class(shell)


def script(shell: str, root: click.Command, program: str, variable: str) -> str:
    """The shell's completion script for a program, which reads the environment ``variable``."""
    return SHELLS[shell](root, {}, program, variable).source().rstrip("\n")
