"""The documents' code runs, scaled down; their links and commands exist."""

import doctest
import re
import shlex
from pathlib import Path

import matplotlib as mpl
import pytest
import torch

from metarl.__main__ import COMMANDS
from metarl.commands.list import reference
from metarl.commands.presets import PRESETS
from metarl.commands.reproduce import TABLES
from metarl.learner import Layout
from metarl.registry import REGISTRIES
from metarl.rules import adam, gradient_descent, lstm, meta_sgd, turtle

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
SMALLER = {r"iterations=\d+": "iterations=2", r"tasks=\d+": "tasks=4"}


def blocks(page, language):
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text(), flags=re.MULTILINE | re.DOTALL)


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
@pytest.mark.usefixtures("image_data")
def test_python_blocks_run(page):
    mpl.use("Agg")
    if page.name == "meta-world.md":
        pytest.importorskip("metaworld", reason="it needs the extra metarl[metaworld]")
    names = {"__name__": "__main__"}
    before = {section: set(registry) for section, registry in REGISTRIES.items()}
    try:
        for block in blocks(page, "python"):
            for large, small in SMALLER.items():
                block = re.sub(large, small, block)
            exec(compile(block, page.name, "exec"), names)
    finally:
        for section, registry in REGISTRIES.items():
            for name in set(registry) - before[section]:
                registry.remove(name)


@pytest.mark.parametrize("module", [adam, gradient_descent, lstm, meta_sgd, turtle], ids=lambda module: module.__name__)
def test_examples_in_docstrings_are_true(module):
    found = doctest.testmod(module, extraglobs={"torch": torch, "Layout": Layout})
    assert found.attempted
    assert not found.failed


def test_the_worked_example_of_a_rule_is_short():
    (block,) = [block for block in blocks(ROOT / "docs" / "rules.md", "python") if "class HeavyBall" in block]
    lines = [line for line in block[block.index("class HeavyBall") :].splitlines() if line.strip()]
    assert len(lines) <= 15


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_and_pictures_exist(page):
    for target in re.findall(r"\]\(([^)#]+)\)", page.read_text()):
        if not target.startswith("http"):
            assert (page.parent / target).exists(), target


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_name_what_exists(page):
    for line in "".join(blocks(page, "(?:sh|console)")).splitlines():
        words = shlex.split(line, comments=True)
        if words[:1] == ["metarl"]:
            assert words[1] in COMMANDS, line
            known = {"train": PRESETS, "reproduce": TABLES}.get(words[1])
            assert known is None or words[2] in known, line
        if words[:1] == ["make"]:
            assert f"\n{words[1]}:" in (ROOT / "Makefile").read_text(), line


def test_the_reference_page_is_what_the_registry_says():
    assert (ROOT / "docs" / "reference.md").read_text() == reference(), "metarl list --markdown > docs/reference.md"
