"""The deliberate faults fit today's files, and their runner tells what is noticed from what is not."""

import subprocess

import pytest

from tests.mutants.mutant import ROOT, Mutant, StaleError, load
from tests.mutants.run import judge, run
from tests.mutants.worker import Worker

MUTANTS = load()


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: f"{mutant.area}: {mutant.name}")
def test_a_fault_fits_its_file_once(mutant):
    source = (ROOT / mutant.file).read_text()
    compile(mutant.apply(source), mutant.file, "exec")  # a fault that is no Python would be noticed by anything
    assert mutant.why.endswith(".")
    files = [name for name in mutant.tests if name.startswith("tests/")]
    assert files
    assert all((ROOT / name.partition("::")[0]).is_file() for name in files)


def test_no_fault_is_listed_twice():
    assert len({(mutant.area, mutant.name) for mutant in MUTANTS}) == len(MUTANTS)
    assert len({(mutant.file, mutant.find, mutant.replace) for mutant in MUTANTS}) == len(MUTANTS)


@pytest.mark.parametrize(("find", "says"), [("7", "holds 0 times"), ("1", "holds 2 times"), ("2", "changes nothing")])
def test_a_fault_that_does_not_fit_is_stale(find, says):
    with pytest.raises(StaleError, match=says):
        Mutant("area", "name", "sum.py", find, "2", (), "").apply("1 + 1 + 2")


@pytest.mark.slow
def test_the_runner_tells_caught_from_escaped_and_stale(tmp_path):
    def mutant(name, find, replace, tests="tests/test_sums.py"):
        return Mutant("toy", name, "sums.py", find, replace, (tests,), f"{name} matters")

    files = {
        "sums.py": "import time\ndef add(a, b):\n    return a + b\ndef half(a):\n    return a / 2\n",
        "tests/test_sums.py": "from sums import add\ndef test_add():\n    assert add(1, 2) == 3\n",
        "tests/test_broken.py": "def test_fails_anyway():\n    assert False\n",
        "ignored.py": "raise SystemExit",
        ".gitignore": "ignored.py\n",
    }
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    subprocess.run(["git", "init", "-q"], cwd=tmp_path, check=True)
    expected = {
        mutant("wrong sign", "a + b", "a - b"): ("caught", ""),
        mutant("nobody looks", "a / 2", "a / 3"): ("escaped", "nobody looks matters"),
        mutant("gone", "a * b", "a"): ("stale", "sums.py holds 0 times what must be there once: 'a * b'"),
        mutant("no import", "import time", "import tmie"): ("stale", "pytest could not run: exit status 2"),
        mutant("fails anyway", "a + b", "a * b", "tests/test_broken.py"): ("stale", "exit status 1 without a fault"),
    }
    assert run(list(expected), root=tmp_path, imports=["pytest"]) == expected
    worker = Worker(tmp_path, imports=["pytest"])
    endless = mutant("never ends", "return a + b", "time.sleep(60)")
    assert judge(endless, worker, number=9, limit=2.0) == ("caught", "ran past 2 seconds")
    worker.close()
    assert (tmp_path / "sums.py").read_text() == files["sums.py"]
