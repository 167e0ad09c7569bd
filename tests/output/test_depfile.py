"""The rule that --depfile writes: its text, and that make and ninja read from it what was meant."""

from __future__ import annotations

import itertools
import os
import subprocess
from pathlib import Path

import pytest

from chatpipe.errors import UsageFault
from chatpipe.output.depfile import rule
from support.programs import program
from support.refusals import refused

OLD, NOW, NEW = (1_000_000_000, 1_000_000_100, 1_000_000_200)


def make(folder: Path, *goals: str) -> str:
    """What make says. A failure of make is one of the test."""
    command = ["make", "-rR", "--no-print-directory", "--", *goals]
    done = subprocess.run(
        command, cwd=folder, capture_output=True, env={"PATH": os.environ["PATH"], "LC_ALL": "C"}
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == b""
    return os.fsdecode(done.stdout)


def touch(path: Path, time: int) -> None:
    path.parent.mkdir(exist_ok=True)
    path.touch()
    os.utime(path, (time, time))


RULES = {
    "one": ("out", ["a"], b"out: \\\n  a\n\na:\n"),
    "order-is-kept": ("out", ["b", "a"], b"out: \\\n  b \\\n  a\n\nb:\n\na:\n"),
    "none": ("out", [], b"out:\n"),
    "repeated": ("out", ["a", "b", "a"], b"out: \\\n  a \\\n  b\n\na:\n\nb:\n"),
    "stdin": ("out", ["-", "a"], b"out: \\\n  a\n\na:\n"),
    "process-substitution": ("out", ["/dev/fd/63", "/dev/stdin"], b"out:\n"),
    "a-directory-called-dev": ("out", ["dev/a"], b"out: \\\n  dev/a\n\ndev/a:\n"),
    "blank": ("o t", ["a b"], b"o\\ t: \\\n  a\\ b\n\na\\ b:\n"),
    "dollar": ("o$t", ["a$b"], b"o$$t: \\\n  a$$b\n\na$$b:\n"),
    "number-sign": ("o#t", ["a#b"], b"o\\#t: \\\n  a\\#b\n\na\\#b:\n"),
    "percent-matters-in-targets": ("o%t", ["a%b"], b"o\\%t: \\\n  a%b\n\na\\%b:\n"),
    "backslash": ("out", ["a\\b"], b"out: \\\n  a\\b\n\na\\b:\n"),
    "backslash-before-blank": ("out", ["a\\ b"], b"out: \\\n  a\\\\\\ b\n\na\\\\\\ b:\n"),
    "colon": ("out", ["a:b"], b"out: \\\n  a\\:b\n\na\\:b:\n"),
    "bar": ("out", ["a|b"], b"out: \\\n  a\\|b\n\na|b:\n"),
    "ampersand-at-the-end": ("out", ["a&"], b"out: \\\n  a&\n\na& :\n"),
    "assignments-go-last": ("out", ["a=b", "c"], b"out: \\\n  c \\\n  a=b\n\nc:\n"),
    "nothing-but-assignments": ("out", ["a=b"], b"out: \\\n  $() \\\n  a=b\n"),
    "assignment-to-the-word-before": ("out", ["c", "=b"], b"out: \\\n  c \\\n  ./=b\n\nc:\n"),
    "patterns": ("o*", ["a?b[c]"], b"o\\*: \\\n  a\\?b\\[c]\n\na\\?b\\[c]:\n"),
    "backslash-in-a-pattern": ("out", ["a\\b*"], b"out: \\\n  a\\\\b\\*\n\na\\\\b\\*:\n"),
    "utf-8": ("out", ["é你"], "out: \\\n  é你\n\né你:\n".encode()),
    "not-utf-8": ("out", [os.fsdecode(b"\xff")], b"out: \\\n  \xff\n\n\xff:\n"),
}


@pytest.mark.parametrize(("target", "prerequisites", "text"), RULES.values(), ids=RULES)
def test_a_rule_escapes_names_as_make_reads_them(target: str, prerequisites: list[str], text: bytes) -> None:
    assert rule(target, prerequisites) == text


REFUSED = {
    "newline": ("a\nb", "it has a newline"),
    "tab": ("a\tb", "it has a control character"),
    "carriage-return": ("a\r", "it has a control character"),
    "semicolon": ("a;b", "it has a ';'"),
    "last-blank": ("a ", "it ends with a blank or a backslash"),
    "last-backslash": ("a\\", "it ends with a blank or a backslash"),
    "escaped-equals": ("a\\=b", "it has a backslash before a '='"),
    "home": ("~root", "it begins with a '~'"),
    "home-after-all": (".//~root", "it begins with a '~'"),
    "archive-member": ("copy(1)", "it looks like 'library(member)'"),
    "archive-member-with-blank": ("dir (x)/copy (1)", "it looks like 'library(member)'"),
}


@pytest.mark.parametrize(("name", "why"), REFUSED.values(), ids=REFUSED)
def test_a_name_that_make_cannot_read_is_refused(name: str, why: str) -> None:
    for target, prerequisites in ((name, ["a"]), ("out", ["a", name])):
        with refused(UsageFault, f"--depfile: make cannot read the name '{name}': {why}"):
            rule(target, prerequisites)


def test_a_target_that_make_would_read_as_an_assignment_is_refused() -> None:
    with pytest.raises(UsageFault, match="make cannot read the name 'a=b'"):
        rule("a=b", ["c"])


NAMES = [
    "plain",
    "two words",
    "  leading and  double",
    "$HOME",
    "$(shell touch bad).txt",
    "price $5 #1.txt",
    "#comment",
    "100%.txt",
    "%",
    "C:\\dir\\file",
    "back\\ blank",
    "back\\\\#sign",
    "a:b",
    ":",
    "time 12:30:00.txt",
    "a|b",
    "a&b",
    "a&",
    'don\'t "quote" `me`',
    "copy (1).pdf",
    "(1)",
    "a*b",
    "what?",
    "set[1].json",
    "both\\*[kinds]?",
    "back~up~",
    "-dash",
    "@at",
    "include",
    "export",
    "café 你好 👍",
    "sub dir/file",
]
WITH_EQUALS = ["lang=en", "sub/temp=0.2", "=first", "a==b"]


@pytest.mark.parametrize("name", NAMES + WITH_EQUALS)
def test_make_runs_again_when_a_file_of_that_name_is_newer(tmp_path: Path, name: str) -> None:
    for companions in ([], ["other"]):
        for path, time in (("out", NOW), ("other", OLD), (name, OLD)):
            touch(tmp_path / path, time)
        (tmp_path / "out.d").write_bytes(rule("out", [name, *companions]))
        (tmp_path / "Makefile").write_text("out:\n\t@echo made\n\ninclude out.d\n")
        assert make(tmp_path, "out") == "make: 'out' is up to date.\n"
        touch(tmp_path / name, NEW)
        assert make(tmp_path, "out") == "made\n"


@pytest.mark.parametrize("name", NAMES)
def test_make_runs_again_when_a_file_of_that_name_is_gone(tmp_path: Path, name: str) -> None:
    touch(tmp_path / "out", NOW)
    (tmp_path / "out.d").write_bytes(rule("out", [name]))
    (tmp_path / "Makefile").write_text("out:\n\t@echo made\n\ninclude out.d\n")
    assert make(tmp_path, "out") == "made\n"


@pytest.mark.parametrize("name", [name for name in NAMES if name != "-dash"])
def test_make_knows_a_target_of_that_name(tmp_path: Path, name: str) -> None:
    touch(tmp_path / "in", NEW)
    touch(tmp_path / name, NOW)  # make looks for files that fit `a*b`, and takes it as it stands if none does
    (tmp_path / "out.d").write_bytes(rule(name, ["in"]))
    (tmp_path / "Makefile").write_text("first:\ninclude out.d\n%:\n\t@:$(info <$@> from <$^>)\n")
    assert f"<{name}> from <in>\n" in make(tmp_path, name)


# letters, the number of names of three that make can read, and whether files of these names are there
ODD_NAMES = {
    "special-to-make": ("\\ $#%:&|()~'\"a", 2172, False),
    "special-in-patterns": ("*?[]\\ $a", 384, True),
}


@pytest.mark.parametrize(("alphabet", "count", "there"), ODD_NAMES.values(), ids=ODD_NAMES)
def test_make_reads_back_every_name_of_three_odd_characters(
    tmp_path: Path, alphabet: str, count: int, there: bool
) -> None:
    """All at once, since a process for each would take minutes."""
    rules, recipes, expected = [], [], []
    for number, letters in enumerate(itertools.product(alphabet, repeat=3)):
        name = "".join(letters)
        if there:
            touch(tmp_path / name, OLD)
        try:
            rules.append(rule(f"out{number}", ["first", name, "last"]))
        except UsageFault:
            assert name.endswith((" ", "\\", ")")) or name.startswith("~")
            continue
        recipes.append(f"out{number}:;@:$(info <$^>)\n")
        expected.append(f"<first {name} last>")
    (tmp_path / "out.d").write_bytes(b"\n".join(rules))
    goals = " ".join(recipe.partition(":")[0] for recipe in recipes)
    (tmp_path / "Makefile").write_text(f"all: {goals}\ninclude out.d\n{''.join(recipes)}")
    assert len(expected) == count
    assert make(tmp_path).splitlines() == expected


def test_nothing_in_a_name_is_run_by_make(tmp_path: Path) -> None:
    (tmp_path / "out.d").write_bytes(rule("$(shell touch one).", ["$(shell touch two).", "`touch three`"]))
    (tmp_path / "Makefile").write_text("all:;@:\ninclude out.d\n")
    make(tmp_path)
    assert sorted(os.listdir(tmp_path)) == ["Makefile", "out.d"]


@pytest.mark.parametrize(
    "name", ["plain", "two words", "price $5 #1", "back\\slash", "a:b", "copy (1).pdf", "é", "a=b"]
)
def test_ninja_reads_the_same(tmp_path: Path, name: str) -> None:
    path_of_ninja = program("ninja")
    for path in (name, "other"):
        touch(tmp_path / path, OLD)
    (tmp_path / "rule").write_bytes(rule("out", [name, "other"]))
    (tmp_path / "build.ninja").write_text(
        "rule ask\n  command = cp rule out.d && touch out\n  depfile = out.d\nbuild out: ask\n"
    )

    def ninja() -> str:
        return subprocess.run(
            [path_of_ninja], cwd=tmp_path, capture_output=True, check=True, text=True
        ).stdout

    assert "cp rule out.d" in ninja()
    assert ninja() == "ninja: no work to do.\n"
    touch(tmp_path / name, 2_000_000_000)
    assert "cp rule out.d" in ninja()
