"""What surrounds the code agrees with it: workflow, templates, citation, make's verbs, contributing."""

import importlib.util
import re
import shlex
import tomllib
from pathlib import Path

import pytest
import yaml

import metarl

ROOT = Path(__file__).parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
WORKFLOW = yaml.safe_load((ROOT / ".github" / "workflows" / "ci.yml").read_text())
FORMS = [path for path in sorted((ROOT / ".github" / "ISSUE_TEMPLATE").glob("*.yml")) if path.stem != "config"]
CONTRIBUTING = (ROOT / "CONTRIBUTING.md").read_text()
MAKEFILE = (ROOT / "Makefile").read_text()
TARGETS = re.findall(r"^([a-z-]+):(?!=)", MAKEFILE, flags=re.MULTILINE)


def commands():
    """Return the lines that the workflow's jobs run."""
    return [line for job in WORKFLOW["jobs"].values() for step in job["steps"] for line in step.get("run", "").splitlines()]


def verbs(text):
    return re.findall(r"\bmake ([a-z-]+)\b", " ".join(re.findall(r"`([^`]*)`", text)))


# -- the workflow


def test_the_workflow_tests_every_python_that_the_package_names():
    tested = WORKFLOW["jobs"]["test"]["strategy"]["matrix"]["python-version"]
    named = [label.rpartition(" ")[2] for label in PROJECT["classifiers"] if re.fullmatch(r".*Python :: 3\.\d+", label)]
    assert all(isinstance(version, str) for version in tested), "3.10 without quotes is 3.1"
    assert tested == named
    assert PROJECT["requires-python"] == f">={tested[0]}"


def test_the_workflow_runs_tests_style_types_and_the_wheel():
    run = commands()
    assert {"make test", "make lint", "make types", "python -m build --wheel", "python -m pip install dist/*.whl"} <= set(run)
    steps = WORKFLOW["jobs"]["wheel"]["steps"]
    away = next(step for step in steps if "import metarl" in step.get("run", ""))
    assert away["working-directory"] == "${{ runner.temp }}", "in the checkout, Python would import the checkout"


def test_the_workflow_uses_verbs_and_modules_that_exist():
    for line in commands():
        words = shlex.split(line)
        if words[0] == "make":
            assert words[1] in TARGETS, line
        for names in re.findall(r"import (metarl[^;]*)", line):
            for name in names.split(", "):
                assert importlib.util.find_spec(name), name


def test_every_job_keeps_what_pip_fetched_and_ends_in_time():
    for name, job in WORKFLOW["jobs"].items():
        (python,) = [step for step in job["steps"] if step.get("uses", "").startswith("actions/setup-python@")]
        assert python["with"]["cache"] == "pip", name
        assert (ROOT / python["with"]["cache-dependency-path"]).exists(), name
        assert job["timeout-minutes"] <= 30, name
    assert WORKFLOW["concurrency"]["cancel-in-progress"] is True
    assert WORKFLOW["permissions"] == {"contents": "read"}


# -- templates


@pytest.mark.parametrize("path", FORMS, ids=lambda path: path.stem)
def test_issue_forms_are_what_github_takes(path):
    form = yaml.safe_load(path.read_text())
    assert set(form) == {"name", "description", "labels", "body"}
    names = [field["id"] for field in form["body"]]
    assert len(set(names)) == len(names)
    labels = [field["attributes"]["label"] for field in form["body"]]
    assert len(set(labels)) == len(labels)
    for field in form["body"]:
        assert set(field) <= {"type", "id", "attributes", "validations"}
        assert field["type"] in ("input", "textarea", "dropdown")
        allowed = {"input": {"placeholder"}, "textarea": {"placeholder", "render"}, "dropdown": {"options"}}[field["type"]]
        assert set(field["attributes"]) <= {"label", "description"} | allowed
        assert field.get("validations", {"required": True}) == {"required": True}


@pytest.mark.parametrize(
    ("name", "needed"),
    [
        ("bug", {"command", "seed", "error", "versions"}),
        ("feature", {"aim", "kind"}),
        ("reproduction", {"place", "numbers", "command", "seed", "versions"}),
    ],
)
def test_issue_forms_ask_for_what_matters(name, needed):
    form = yaml.safe_load((ROOT / ".github" / "ISSUE_TEMPLATE" / f"{name}.yml").read_text())
    assert {field["id"] for field in form["body"] if "validations" in field} == needed


def test_every_issue_form_is_tested():
    assert [path.stem for path in FORMS] == ["bug", "feature", "reproduction"]
    config = yaml.safe_load((ROOT / ".github" / "ISSUE_TEMPLATE" / "config.yml").read_text())
    assert config == {"blank_issues_enabled": True}


def test_the_pull_request_template_names_the_checks():
    text = (ROOT / ".github" / "pull_request_template.md").read_text()
    assert verbs(text) == ["check"]
    assert "check" in TARGETS
    assert (ROOT / "CHANGELOG.md").exists()
    assert text.count("- [ ] ") >= 3


# -- citation and contributing


def test_the_citation_is_of_this_version():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    assert citation["cff-version"] == "1.2.0"
    assert {"message", "title", "authors"} <= set(citation), "what the format demands"
    assert citation["version"] == metarl.__version__ == PROJECT["version"]
    assert citation["authors"] == PROJECT["authors"]
    assert citation["license"] == PROJECT["license"]
    assert citation["title"] == f"{PROJECT['name']}: {PROJECT['description'][0].lower()}{PROJECT['description'][1:]}"


def test_contributing_is_short_and_its_paths_exist():
    assert len(CONTRIBUTING.splitlines()) < 50
    assert "code_of_conduct" in CONTRIBUTING
    paths = set(re.findall(r"`((?:metarl|agents|envs|supervised|tests)/[\w/.]*)`", CONTRIBUTING))
    assert [path for path in sorted(paths) if not (ROOT / path).exists()] == []


def test_contributing_names_verbs_that_exist():
    assert {"check", "test", "mutants"} <= set(verbs(CONTRIBUTING)) <= set(TARGETS)


def test_contributing_names_registrations_that_exist():
    names = re.findall(r"`metarl\.(register_\w+)`", CONTRIBUTING)
    assert len(names) == 6
    assert [name for name in names if not hasattr(metarl, name)] == []


# -- make


def test_every_target_without_a_file_is_phony():
    phony = {name for line in re.findall(r"^\.PHONY: (.*)$", MAKEFILE, flags=re.MULTILINE) for name in line.split()}
    assert set(TARGETS) == phony


def test_check_leaves_out_what_is_slow_and_test_does_not():
    recipes = dict(re.findall(r"^([a-z-]+):(?!=)[^\n]*\n((?:\t[^\n]*\n?)*)", MAKEFILE, flags=re.MULTILINE))
    assert '-m "not slow"' in recipes["check"]
    assert "-m pytest" in recipes["test"]
    assert "slow" not in recipes["test"]
    (line,) = re.findall(r"^check: ([^#]*)", MAKEFILE, flags=re.MULTILINE)
    assert line.split() == ["lint", "types"]


def test_the_slow_mark_is_declared(pytestconfig):
    assert [line for line in pytestconfig.getini("markers") if line.startswith("slow:")]
