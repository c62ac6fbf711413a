"""Completion in bash, zsh and fish.

What is completed may be text that others stored, so no shell may take it for
anything else than one word.  zsh and fish quote what they insert.  bash inserts
it as it is: there this module quotes it, as the quotes before the cursor require.
"""

import os
import re
import sys
from typing import Any, NamedTuple

import click
from click.shell_completion import CompletionItem, ShellComplete, add_completion_class

from ..text import one_line, shell_quoted
from .main import completion_variable
from .output import write
from .params import examples

#: The types of completions that are words: a whole word, and the start of one, after which no blank is inserted.
WORDS = ("plain", "part")

PROGRAMS = ("cimaa", "setup-dynamodb", "setup-postgres")

# $2 is the text that bash will replace: the part of the word since the last of $COMP_WORDBREAKS or an open quote.
_BASH = """\
%(complete_func)s() {
    local line typed="${COMP_LINE:0:COMP_POINT}"
    COMPREPLY=()
    while IFS= read -r line; do
        case $line in
            file) compopt -o default ;;
            dir) compopt -o dirnames ;;
            plain,*) COMPREPLY+=("${line#plain,}") ;;
            part,*) COMPREPLY+=("${line#part,}"); compopt -o nospace ;;
        esac
    done <<< "$(env COMP_LINE="$typed" COMP_WORD="$2" %(complete_var)s=bash_complete "$1" 2>/dev/null)"
}
complete -o nosort -F %(complete_func)s %(prog_name)s
"""

_ZSH = """\
#compdef %(prog_name)s

%(complete_func)s() {
    local -a lines values shown parts parts_shown
    local type value help
    local -a typed=("${(@Q)words[1,CURRENT-1]}" "${(Q)PREFIX}")
    lines=("${(@f)$(env %(complete_var)s=zsh_complete "${typed[@]}" 2>/dev/null)}")
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

# The token as it will be read, its open quote closed; else the text before the first quote is enough to ask for, as
# fish itself drops what does not match the rest.
_FISH = """\
function %(complete_func)s
    set -l words (commandline -xpc 2>/dev/null; or commandline -opc)
    set -l token (commandline -ct)
    set -l start (string unescape -- "$token"; or string unescape -- "$token'"; or string unescape -- "$token\\""
        or string match -r '^[^\\\\\\\\\\'"$]*' -- "$token")
    for line in (env %(complete_var)s=fish_complete $words "$start" 2>/dev/null)
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


class Line(NamedTuple):
    """A line of bash up to the cursor."""

    #: The words as the command would get them, nothing expanded; the last is the one at the cursor.
    words: list[str]
    #: The quote that is open at the cursor, if any.
    quote: str
    #: Where the text in that quote starts.
    inside: int


_PIECE = re.compile(
    r"""  (?P<blank> [ \t\n]+ )
        | ' (?P<single> [^']* ) (?P<single_end> '? )
        | " (?P<double> (?: [^\\"] | \\. )* ) (?P<double_end> "? ) (?: \\\Z )?
        | \\ (?P<escaped> . | \Z )
        | (?P<plain> [^ \t\n'"\\]+ ) """,
    re.VERBOSE | re.DOTALL,
)


def parse(line: str) -> Line:
    """Read a line of bash that may end anywhere."""
    words, quote, inside = [""], "", 0
    for piece in _PIECE.finditer(line):
        kind = piece.lastgroup or ""
        if kind == "blank":
            words.append("")
        elif kind == "single_end":
            words[-1] += piece["single"]
            quote, inside = ("" if piece["single_end"] else "'"), piece.start("single")
        elif kind == "double_end":
            words[-1] += re.sub(r'\\([\\"$`])', r"\1", piece["double"])
            quote, inside = ("" if piece["double_end"] else '"'), piece.start("double")
        else:
            words[-1] += piece[kind]
    return Line(words, quote, inside)


def quoted(text: str, quote: str) -> str:
    """The text, quoted for bash so that it stands for itself, within this open quote, or within none (``''``)."""
    if not quote:
        return re.sub(r"([^\w./:=@%+,^\x80-\U0010ffff-])", r"\\\1", text)
    within = shell_quoted(text)[1:-1]
    if quote == '"':  # where ! refers to the history, with a backslash too
        within = re.sub(r'([\\"$`])', r"\\\1", text).replace("!", "\"'!'\"")
    # bash takes a quote at the start for the one that was typed, and closes the quote unless the last character is one.
    return quote * within.startswith(quote) + within + quote * within.endswith(quote)


class _Shell(ShellComplete):
    """What the shells have in common."""

    def get_completion_args(self) -> tuple[list[str], str]:
        """The words before the cursor, and the start of the one at the cursor."""
        return sys.argv[1:-1], sys.argv[-1]

    def get_completions(self, args: list[str], incomplete: str) -> list[CompletionItem[str]]:
        """The completions of the whole word; its start is ``incomplete``, also where that is ``--option=value``."""
        options = "--" not in args
        found = [
            item
            for item in super().get_completions(list(args), incomplete)
            # An argument that looks like an option is one, unless -- stands before it.
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
        """The completions, without those that start with ~: fish takes it for a home directory, and never quotes it."""
        return [item for item in super().get_completions(args, incomplete) if not item.value.startswith("~")]

    def format_completion(self, item: CompletionItem[Any]) -> str:
        """The word, a tab, and its description."""
        if item.type not in WORDS:
            return item.type
        return f"{item.type},{item.value}" + (f"\t{one_line(item.help)}" if item.help else "")


SHELLS: dict[str, type[_Shell]] = {shell.name: shell for shell in (Bash, Zsh, Fish)}


def register() -> None:
    """Have click use these instead of its own, which insert some texts in a way that the shell runs them."""
    for shell in SHELLS.values():
        add_completion_class(shell)


@click.command(
    epilog=examples(
        "cimaa completion bash > ~/.local/share/bash-completion/completions/cimaa",
        "cimaa completion zsh > ~/.zfunc/_cimaa",
        "cimaa completion fish > ~/.config/fish/completions/cimaa.fish",
        "cimaa completion fish --program setup-postgres > ~/.config/fish/completions/setup-postgres.fish",
    )
)
@click.argument("shell", type=click.Choice(tuple(SHELLS)))
@click.option(
    "--program",
    type=click.Choice(PROGRAMS),
    default=PROGRAMS[0],
    show_default=True,
    help="The program whose arguments are completed.",
)
@click.pass_context
def completion(ctx: click.Context, shell: str, program: str) -> None:
    """Write a shell's completion script.

    It completes commands, options, agents, squelches and filters, but no names that hold control characters.
    """
    made = SHELLS[shell](ctx.find_root().command, {}, program, completion_variable(program))
    write(made.source().rstrip("\n"))
