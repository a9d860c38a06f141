"""Write docs/errors.md: every error the program can end with, by exit code, with its text and its fix.

The list is read from the source: an error is a call of one of the classes of :mod:`dynaflex.errors`, or of a class made
from them, whose first argument is its identifier. What is only known when it happens stands in braces.
"""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from dynaflex import errors

ROOT = Path(__file__).parents[1]
SOURCE = ROOT / "src" / "dynaflex"
PAGE = ROOT / "docs" / "errors.md"

MEANING = {
    1: "a fault in dynaflex: please report it",
    2: "a command that cannot mean anything",
    3: "an input file that is missing, damaged, or does not fit the others",
    4: "the machine cannot do it",
    5: "too little memory, disk or time",
    6: "the run directory belongs to another process, or already holds a run",
    7: "a computation left the finite numbers",
    8: "a checkpoint that does not match its manifest or the data",
    75: "stopped on request; a run is saved, and can be resumed",
}

_HEADER = """\
# Errors

Made from the source by `make docs`; a test keeps this page complete. An error is one line: the place (file, column,
entry or option, row), what is wrong, what was expected and found, the fix, and in brackets the identifier under which
it stands here. Identifiers and exit codes stay as they are, so scripts may rely on them. `--debug` shows where an
error was raised. What cannot be typed at all, such as a word that is none of an option's choices, is told with the
usage of the command, exit code 2.

Three more have no table: `memory`, exit code 5, where Python itself runs out of memory; `library`, exit code 1, where a
library that dynaflex needs cannot be loaded; and `bug`, exit code 1, for anything that was not foreseen. `dynaflex
validate` ends with 1, and without an error, where a control failed.
"""


@dataclass(frozen=True, order=True)
class Entry:
    """One place where an error is raised; ``path`` is below the project."""

    code: int
    identifier: str
    problem: str
    fix: str
    path: str


def exit_codes() -> dict[str, int]:
    """The exit code of every class of error, those made from them in other modules included."""
    classes = inspect.getmembers(errors, inspect.isclass)
    known = {name: kind.exit_code for name, kind in classes if hasattr(kind, "exit_code")}
    for path in sorted(SOURCE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ClassDef):
                for base in node.bases:
                    if isinstance(base, ast.Name) and base.id in known and node.name not in known:
                        known[node.name] = known[base.id]
    return known


def entries() -> list[Entry]:
    """Every error that the source raises, by exit code and identifier."""
    codes = exit_codes()
    return sorted({entry for path in SOURCE.rglob("*.py") for entry in _raised(path, codes)})


def _raised(path: Path, codes: dict[str, int]) -> Iterator[Entry]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    where = path.relative_to(ROOT).as_posix()
    makers = dict(_makers(tree, codes))
    for node in ast.walk(tree):
        if not isinstance(node, ast.Call):
            continue
        name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        if name in codes:
            identifier, problem, code, fix = 0, 1, codes[name], ""
        elif name in makers:
            identifier, problem, code, fix = makers[name]
        else:
            continue
        named = {keyword.arg: keyword.value for keyword in node.keywords}
        # An identifier that is handed on stands where it was given.
        if len(node.args) <= identifier or isinstance(node.args[identifier], ast.Name | ast.Attribute):
            continue
        words = text(node.args[problem]) if problem < len(node.args) else ""
        yield Entry(code, text(node.args[identifier]), words, text(named["fix"]) if "fix" in named else fix, where)


def _makers(tree: ast.Module, codes: dict[str, int]) -> Iterator[tuple[str, tuple[int, int, int, str]]]:
    """The functions of a module that make errors: where they take identifier and problem, the exit code and the fix."""
    for node in ast.walk(tree):
        if not isinstance(node, ast.FunctionDef):
            continue
        taken = [argument.arg for argument in node.args.args if argument.arg != "self"]
        made = [call for call in ast.walk(node) if isinstance(call, ast.Call) and getattr(call.func, "id", "") in codes]
        if "identifier" in taken and made:
            fixes = [text(keyword.value) for keyword in made[0].keywords if keyword.arg == "fix"]
            problem = taken.index("problem") if "problem" in taken else len(taken)
            code = codes[made[0].func.id]  # type: ignore[attr-defined]
            yield node.name, (taken.index("identifier"), problem, code, "".join(fixes))


def text(node: ast.expr) -> str:
    """A string as a reader sees it; names and expressions stand in braces."""
    if isinstance(node, ast.Constant):
        return "" if node.value is None else str(node.value)
    if isinstance(node, ast.JoinedStr):
        return "".join(text(part) for part in node.values)
    if isinstance(node, ast.FormattedValue):
        return f"{{{ast.unparse(node.value)}}}"
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        return text(node.left) + text(node.right)
    if isinstance(node, ast.IfExp):
        return f"{text(node.body)} / {text(node.orelse)}"
    return f"{{{ast.unparse(node)}}}"


def page() -> str:
    """The whole page."""
    parts, known = [_HEADER], entries()
    for code, meaning in MEANING.items():
        mine = [entry for entry in known if entry.code == code]
        if mine:
            parts.append(f"\n## Exit code {code}: {meaning}\n\n| identifier | what is wrong | fix |\n|---|---|---|\n")
            parts += [f"| `{e.identifier}` | {_cell(e.problem)} | {_cell(e.fix)} |\n" for e in mine]
    return "".join(parts)


def _cell(words: str) -> str:
    return " ".join(words.split()).replace("|", "\\|")


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")
