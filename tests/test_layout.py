"""The house: which way imports run, and that the wheel holds every file."""

import ast
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
FLOORS = [  # each imports only from those before it, and from itself
    ["metarl.errors", "metarl.clock", "metarl.fields", "metarl.streams", "metarl.cores", "metarl.opengl"],
    ["metarl.registry", "metarl.catalogue"],
    ["metarl.progress"],
    ["metarl.files", "metarl.tasks", "metarl.normalisation", "metarl.networks", "metarl.processes"],
    ["metarl.checkpoint", "metarl.compiler"],
    ["metarl.staging"],
    ["metarl.learner"],
    ["metarl.rules"],
    ["metarl.sampling", "metarl.problems"],
    ["metarl.adapters"],
    ["metarl.outer"],
    ["metarl.evaluation"],
    ["metarl.logger"],
    ["metarl.agents"],
    ["metarl.commands"],
]
GROUND = ["metarl.cores", "metarl.errors", "metarl.files", "metarl.opengl", "metarl.tasks"]
GROUND += ["metarl.normalisation", "metarl.networks"]
ROOMS = {"envs": [*GROUND, "metarl.envs"], "supervised": [*GROUND, "metarl.supervised"]}


def python_files(folder):
    return sorted(path for path in (ROOT / folder).glob("**/*.py") if "__pycache__" not in path.parts)


def imports(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} imports relatively"
            yield from (f"{node.module}.{name.name}" for name in node.names)


def within(name, places):
    return any(name == place or name.startswith(f"{place}.") for place in places)


@pytest.mark.parametrize("room", ROOMS)
def test_task_families_and_episodes_know_only_the_ground(room):
    for path in python_files(room):
        for name in imports(path):
            assert not name.startswith("metarl") or within(name, ROOMS[room]), f"{path}: {name}"
            assert not within(name, ["envs", "agents", "supervised"]), f"{path}: {name}"


def test_imports_run_downwards():
    for height, floor in enumerate(FLOORS):
        allowed = [place for lower in FLOORS[: height + 1] for place in lower]
        for place in floor:
            folder = place.replace("metarl.", "").replace(".", "/")
            base = ROOT if folder == "agents" else ROOT / "metarl"
            files = python_files(base / folder) or [base / f"{folder}.py"]
            for path in files:
                for name in imports(path):
                    if name.startswith("metarl.") and not within(name, allowed):
                        assert place == "metarl.commands", f"{path}: {name}"


def test_every_module_has_a_floor():
    known = [place for floor in FLOORS for place in floor]
    for path in (ROOT / "metarl").iterdir():
        if path.suffix == ".py" and path.stem not in ("__init__", "__main__"):
            assert f"metarl.{path.stem}" in known
        if path.is_dir() and not path.is_symlink() and path.name != "__pycache__":
            assert f"metarl.{path.name}" in known


def test_the_adaptation_layer_knows_no_environment():
    # the registry tells Gymnasium of families, and knows nothing else of it
    files_of_its_own = [
        path for path in (ROOT / "metarl").glob("*.py") if path.stem not in ("__init__", "__main__", "registry")
    ]
    folders = ("rules", "problems", "adapters", "outer")
    for files in (files_of_its_own, *(python_files(f"metarl/{folder}") for folder in folders)):
        for path in files:
            assert not [name for name in imports(path) if name.split(".")[0] in ("gymnasium", "stable_baselines3")], path


def test_sampling_knows_no_task_family():
    """Where it steps environments it knows gymnasium, and a worker process starts without torch."""
    for path in python_files("metarl/sampling"):
        names = [name for name in imports(path) if name.split(".")[0] == "gymnasium"]
        assert not names or path.stem in ("vector", "pool", "worker", "row_stepper", "spaces"), path
    code = "import sys, metarl.sampling.worker; print([name for name in ('torch', 'stable_baselines3') if name in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"


def test_rooms_are_linked():
    for room in ("envs", "agents", "supervised"):
        link = ROOT / "metarl" / room
        assert link.is_symlink()
        assert link.readlink() == Path("..") / room


def test_importing_metarl_imports_no_environment():
    code = (
        "import sys, metarl; print(sorted(n for n in sys.modules if n.startswith(('metarl.', 'torch', 'stable_baselines3'))))"
    )
    printed = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()
    assert printed == "['metarl.catalogue', 'metarl.errors', 'metarl.registry']"


def test_every_folder_is_packaged():
    packages = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]
    folders = {
        path.parent for room in ("metarl", "agents", "envs", "supervised") for path in (ROOT / room).rglob("__init__.py")
    }
    names = {str(folder.relative_to(ROOT)).replace("/", ".") for folder in folders}
    names = {name if name.startswith("metarl") else f"metarl.{name}" for name in names}
    assert names == set(packages)


@pytest.mark.slow
def test_the_wheel_holds_every_file(tmp_path):
    build = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--wheel-dir", str(tmp_path), str(ROOT)]
    done = subprocess.run(build, capture_output=True, text=True)
    if "No matching distribution found for setuptools" in done.stderr:
        pytest.skip("pip cannot reach an index to fetch setuptools")
    assert done.returncode == 0, done.stderr
    held = set(zipfile.ZipFile(next(tmp_path.glob("metarl-*.whl"))).namelist())
    for room, prefix in (("metarl", ""), ("agents", "metarl/"), ("envs", "metarl/"), ("supervised", "metarl/")):
        for path in python_files(room):
            assert prefix + str(path.relative_to(ROOT)) in held
    assert "metarl/py.typed" in held
    assert not [name for name in held if name.startswith(("tests/", "envs/", "agents/", "supervised/"))]
