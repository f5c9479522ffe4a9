"""`mtl completion`: completion of the command line in shells. Free of torch."""

from __future__ import annotations

import json
import os
import re
import shlex
from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mtl.commands.options import one_of, results_only

if TYPE_CHECKING:
    from mtl.plugins import Plugins

# Each script asks `mtl completion SHELL --words ...`, and leaves it to the shell to complete files if there
# is no answer. bash splits words at `=` and `:`, so it passes the line, and gets what follows the last one.
SCRIPTS: Mapping[str, str] = {
    "bash": """\
_mtl() {
    local IFS=$'\\n'
    COMPREPLY=($(mtl completion bash --line "${COMP_LINE:0:COMP_POINT}" 2>/dev/null))
    if [[ ${#COMPREPLY[@]} -eq 0 ]]; then compopt -o default
    elif [[ ${COMPREPLY[0]} == *[=:] ]]; then compopt -o nospace; fi
}
complete -F _mtl mtl
""",
    "zsh": """\
#compdef mtl
_mtl() {
    local -a found
    found=("${(@f)$(mtl completion zsh --words -- "${(@)words[2,CURRENT]}" 2>/dev/null)}")
    if [[ -z ${found[1]} ]]; then _files
    elif [[ ${found[1]} == *[=:] ]]; then compadd -S '' -- $found
    else compadd -- $found; fi
}
if [[ $funcstack[1] == _mtl ]]; then _mtl "$@"; else compdef _mtl mtl; fi
""",
    "fish": """\
complete -c mtl -e
complete -c mtl -a '(mtl completion fish --words -- (commandline -opc)[2..] (commandline -ct) 2>/dev/null)'
""",
}


def completion(
    context: typer.Context,
    shell: Annotated[
        str,
        typer.Argument(metavar="bash|zsh|fish", parser=one_of("SHELL", *SCRIPTS), help="The shell."),
    ],
    arguments: Annotated[list[str] | None, typer.Argument(hidden=True)] = None,
    words: Annotated[bool, typer.Option("--words", hidden=True)] = False,
    line: Annotated[str | None, typer.Option("--line", hidden=True)] = None,
) -> None:
    """Print a script that completes commands, options, and names of components and tasks.

    bash: eval "$(mtl completion bash)" in ~/.bashrc.

    zsh: eval "$(mtl completion zsh)" in ~/.zshrc, after compinit.

    fish: mtl completion fish > ~/.config/fish/completions/mtl.fish
    """
    root = context.find_root().command
    if line is not None:
        typed = _split(line)
        print("\n".join(_after_break(each, typed[-1]) for each in candidates(root, typed)))
    elif words:
        print("\n".join(candidates(root, arguments or [""])))
    else:
        print(SCRIPTS[shell], end="")


def candidates(root: Any, words: Sequence[str]) -> list[str]:
    """Return what the last of `words`, which follow the command `root` on the line, may be completed to.

    Nothing where a file may stand, or anything else that is not known.
    """
    *before, current = words
    with results_only():
        command = root
        path: list[str] = []
        given: list[str] = []
        awaiting: Any = None
        for word in before:
            if awaiting is not None:
                awaiting = None
            elif word.startswith("-"):
                awaiting = next(
                    (each for each in command.params if word in each.opts and _takes_value(each)), None
                )
            elif word in getattr(command, "commands", {}):
                command, path, given = command.commands[word], [*path, word], []
            else:
                given.append(word)
        found = _values(command, path, given, awaiting, current)
    return sorted(each for each in found if each.startswith(current))


def _values(command: Any, path: list[str], given: list[str], awaiting: Any, current: str) -> Iterable[str]:
    if awaiting is not None:
        return _of_parameter(path, awaiting, given, current)
    if current.startswith("-"):
        shown = [each for each in command.params if each.param_type_name == "option" and not each.hidden]
        return ["--help", *(name for each in shown for name in (*each.opts, *each.secondary_opts))]
    if hasattr(command, "commands"):
        return [name for name, each in command.commands.items() if not each.hidden]
    arguments = [each for each in command.params if each.param_type_name == "argument"]
    if not arguments:
        return []
    return _of_parameter(path, arguments[min(len(given), len(arguments) - 1)], given, current)


def _takes_value(option: Any) -> bool:
    return option.param_type_name == "option" and not option.is_flag


def _of_parameter(path: list[str], parameter: Any, given: list[str], current: str) -> Iterable[str]:
    """Return the values of an option or argument."""
    metavar = parameter.metavar or ""
    if re.fullmatch(r"[\w-]+(\|[\w-]+)+", metavar):
        return metavar.split("|")
    if "--task" in parameter.opts:
        return _tasks_to_start(current) if path == ["init"] else _tasks_of_run(given)
    match path, parameter.name:
        case ["plugins", "show"], _:
            return _components()
        case ["plugins", "new"], "kind":
            from mtl.components import KINDS

            return [*KINDS, "command"]
        case ["data", "fetch"], "names":
            return _plugins().available("dataset")
    return []


@cache
def _plugins() -> Plugins:
    from mtl.plugins import discover

    return discover()


def _components() -> Iterator[str]:
    from mtl.components import KINDS

    for kind in KINDS:
        yield from _plugins().available(kind)
    yield from (status.distribution for status in _plugins().statuses)


def _tasks_to_start(current: str) -> Iterator[str]:
    """Yield the tasks of `mtl init --task NAME=TASK:FILES`; files are completed by no shell there."""
    name, equals, _ = current.rpartition("=")
    yield from (f"{name}{equals}{task}:" for task in _plugins().available("task"))


def _tasks_of_run(given: list[str]) -> Iterable[str]:
    """Return the tasks of the run folder that stands on the line."""
    try:
        return list(json.loads((Path(given[0]) / "config.json").read_bytes())["tasks"])
    except (OSError, ValueError, LookupError, TypeError):
        return []


def _split(line: str) -> list[str]:
    """Return the words after `mtl` of a line that may end within quotes."""
    for closing in ("", '"', "'"):
        try:
            words = shlex.split(line + closing)
        except ValueError:
            continue
        return words[1:] if line[-1:].strip() or closing else [*words[1:], ""]
    return [""]


def _after_break(candidate: str, current: str) -> str:
    """Return what bash puts in place of the part of `current` after its last word break."""
    breaks = [current.rfind(each) for each in "=:" if each in os.environ.get("COMP_WORDBREAKS", "=:")]
    return candidate[max([-1, *breaks]) + 1 :]
