"""The command line as a user meets it."""

import json

import pytest

from metarl.__main__ import main
from metarl.commands.presets import PRESETS, Run
from metarl.commands.reproduce import TABLES, Settled, _row
from metarl.commands.tables.cell import Cell, Measured

SMALL = ["--policy-kwargs", '{"hidden": [8]}', "--rollouts.trajectories", "3", "--meta-batch", "2", "--iterations", "4"]
SMALL += ["--validate-every", "2", "--validation-tasks", "4", "--evaluation-tasks", "6", "--no-progress-bar"]


@pytest.fixture
def run_dir(tmp_path, capsys):
    folder = tmp_path / "run"
    assert main(["train", "navigation", *SMALL, "--run-dir", str(folder)]) == 0
    (folder / "said.txt").write_text(capsys.readouterr().out)
    return folder


def test_train_leaves_a_run_folder(run_dir):
    names = {path.name for path in run_dir.iterdir()}
    assert {"config.json", "checkpoint.pt", "evaluation.json", "adaptation.png"} <= names
    assert list(run_dir.glob("tensorboard_1/events*"))
    said = (run_dir / "said.txt").read_text()
    assert "after 1 inner step" in said
    assert f"tensorboard --logdir {run_dir}" in said
    assert f"{run_dir}/adaptation.png" in said
    config = json.loads((run_dir / "config.json").read_text())
    assert config["policy_kwargs"] == {"hidden": [8]}
    assert json.loads((run_dir / "evaluation.json").read_text())["tasks"] == 6


@pytest.mark.parametrize("agent", ["meta-lstm", "meta-lstm-2", "turtle", "alpha-maml"])
@pytest.mark.parametrize("preset", ["navigation", "navigation-varying-start", "sine"])
def test_every_learned_rule_trains_and_is_plotted_in_both_worlds(preset, agent, tmp_path, capsys):
    folder = tmp_path / "run"
    options = [*SMALL, *(["--gradient.no-compile"] if preset == "sine" else [])]
    steps = "2" if preset == "sine" else "1"  # three trajectories are too few for the rates of a longer adaptation
    kwargs = {"turtle": {"hidden": [4, 4]}, "meta-lstm": {"hidden": 4}, "meta-lstm-2": {"hidden": 4}}.get(agent, {})
    options += ["--agent", agent, "--agent-kwargs", json.dumps(kwargs), "--inner-steps", steps, "--run-dir", str(folder)]
    assert main(["train", preset, *options]) == 0
    assert f"after {steps} inner step" in capsys.readouterr().out
    wanted = {"adaptation", "updates"} | ({"gates"} if "lstm" in agent else set())
    assert wanted <= {path.stem for path in folder.glob("*.png")}
    assert main(["train", preset, *options, "--resume", "--iterations", "5"]) == 0
    assert main(["evaluate", str(folder), "--tasks", "3", "--steps", "3"]) == 0


def test_options_that_do_not_fit_the_agent_are_named(capsys):
    assert main(["train", "navigation", "--agent", "turtle", "--agent-kwargs", '{"hiden": [4]}']) == 1
    assert "does not fit TURTLE" in capsys.readouterr().err
    assert main(["train", "navigation", "--agent", "turtle", "--agent-kwargs", '{"rate": 0.1}']) == 1
    assert "give rate by its own option" in capsys.readouterr().err
    assert main(["train", "navigation", "--agent", "turtle", "--agent-kwargs", '{"inputs": ["time"]}']) == 1
    assert "inputs='time' says nothing with inner_steps=1" in capsys.readouterr().err


def test_a_run_is_neither_overwritten_nor_resumed_as_another(run_dir, capsys):
    arguments = ["train", "navigation", *SMALL, "--run-dir", str(run_dir)]
    assert main(arguments) == 1
    assert "already holds a run: add --resume" in capsys.readouterr().err
    assert main([*arguments, "--resume", "--seed", "5"]) == 1
    assert "holds another run, different in seed (0 there, 5 here)" in capsys.readouterr().err


def test_evaluate_and_plot(run_dir, tmp_path, capsys):
    out = tmp_path / "evaluation.json"
    assert main(["evaluate", str(run_dir), "--tasks", "4", "--steps", "2", "--json", str(out)]) == 0
    assert len(json.loads(out.read_text())["mean"]) == 3
    assert main(["plot", str(run_dir), "--out", str(tmp_path / "pictures")]) == 0
    assert {path.name for path in (tmp_path / "pictures").iterdir()} == {
        "curve.png",
        "adaptation.png",
        "updates.png",
        "rates.png",
    }
    assert main(["evaluate", str(run_dir), "--json", str(tmp_path / "nowhere" / "x.json")]) == 1
    assert "is in no folder that exists" in capsys.readouterr().err
    assert main(["evaluate", str(tmp_path / "nothing")]) == 1
    assert "does not exist" in capsys.readouterr().err


def test_the_evaluation_is_the_best_iterates(run_dir, capsys):
    kept = json.loads((run_dir / "evaluation.json").read_text())
    assert main(["evaluate", str(run_dir), "--tasks", "6", "--json", str(run_dir / "again.json")]) == 0
    assert json.loads((run_dir / "again.json").read_text())["mean"] == kept["mean"]


def test_list_names_everything(capsys):
    assert main(["list"]) == 0
    said = capsys.readouterr().out
    for name in [*PRESETS, *TABLES, "metarl/Navigation2D-v0", "meta-sgd"]:
        assert name in said


def test_help_and_unknown_commands(capsys):
    assert main(["--help"]) == 0
    assert main(["--version"]) == 0
    assert main(["trian"]) == 2
    assert "'trian' is not a command" in capsys.readouterr().err
    for command in ("train", "evaluate", "reproduce", "plot"):
        with pytest.raises(SystemExit) as leaving:
            main([command, "--help"])
        assert leaving.value.code == 0
    assert main(["reproduce", "meta-sgd-table-5"]) == 1
    assert "table='meta-sgd-table-5' is not known: did you mean 'meta-sgd-table-" in capsys.readouterr().err
    assert main(["reproduce", "maml-sine", "--json", "nowhere/table.json"]) == 1
    assert "is in no folder that exists: make " in capsys.readouterr().err
    assert main(["train", "navigation", "--rate", "0.1", "0.05"]) == 1
    assert "are for MAML and Alpha MAML; meta-sgd takes one rate" in capsys.readouterr().err
    assert main(["reproduce", "maml-sine", "--seeds", "0"]) == 1
    assert "seeds=0 must be above zero" in capsys.readouterr().err


@pytest.mark.usefixtures("image_data")
@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_makes_its_agent(name):
    run = PRESETS[name][1]
    assert isinstance(run, Run)
    assert run.make().world.problem.learner.layout.size > 0


@pytest.mark.parametrize("name", TABLES)
def test_every_tables_cells_are_distinct(name):
    cells = TABLES[name].cells()
    assert len({cell.name for cell in cells}) == len(cells)


def test_reproduce_writes_the_table(tmp_path, capsys):
    out = tmp_path / "table.json"
    arguments = ["reproduce", "maml-sine", "--only", "rate 0.01", "--scale", "0.00003", "--seeds", "2", "--json", str(out)]
    assert main(arguments) == 0
    report = json.loads(out.read_text())
    assert report["command"] == "metarl " + " ".join(arguments).replace("rate 0.01", "'rate 0.01'")
    assert [row["paper"] for row in report["rows"]] == [0.67, 0.38, 0.35]
    row = report["rows"][0]
    assert set(row) >= {"cell", "paper", "paper_ci", "ours", "ours_ci", "seeds", "verdict"}
    assert row["seeds"] == 2
    assert "scale 3e-05" in row["cell"]
    assert row["ours"] == pytest.approx(sum(row["ours_by_seed"]) / 2, abs=1e-3)
    assert "MAML, sine regression" in capsys.readouterr().out


def test_reproduce_goes_on_from_what_is_finished(tmp_path, capsys):
    out = tmp_path / "table.json"
    partial = tmp_path / "table.json.partial"
    finished = [
        ["rate 0.01", 0, {f"rate 0.01, after {n}": {"mean": 7.0, "ci95": 1.0} for n in ("1 step", "5 steps", "10 steps")}]
    ]
    partial.write_text(json.dumps({"table": "maml-sine", "scale": 0.00003, "finished": finished}))
    arguments = ["reproduce", "maml-sine", "--only", "rate 0.01", "--scale", "0.00003", "--json", str(out)]
    assert main([*arguments, "--seeds", "1"]) == 0
    assert [row["ours_by_seed"] for row in json.loads(out.read_text())["rows"]] == [[7.0]] * 3
    assert not partial.exists()
    partial.write_text(json.dumps({"table": "maml-sine", "scale": 1.0, "finished": []}))
    assert main(arguments) == 1
    assert "table.json.partial is of another table or scale" in " ".join(capsys.readouterr().err.split())


def test_differences_are_paired_over_tasks():
    one, other = Measured(2.0, 0.5, (1.0, 2.0, 3.0)), Measured(1.0, 0.5, (0.0, 1.0, 2.0))
    assert one.minus(other) == Measured(1.0, 0.0, (1.0, 1.0, 1.0))
    assert one.minus(Measured(1.5)) == Measured(0.5)


def test_seeds_that_are_not_finite_are_left_out_and_counted():
    cell, given = Cell("r", "c", 0.5), Settled("maml-sine", seeds=3)
    row = _row(cell, [Measured(0.4, 0.1), Measured(float("inf"), float("nan")), Measured(0.6, 0.1)], given, False)
    assert (row["ours"], row["ours_ci"], row["ours_by_seed"]) == (0.5, 0.1, [0.4, None, 0.6])
    assert row["verdict"] == "at least the paper's; 1 of 3 seeds not finite, left out"
    assert _row(cell, [Measured(float("nan"))], given, True)["verdict"] == "not finite"


@pytest.mark.parametrize("name", [name for name, table in TABLES.items() if hasattr(table, "picture")])
def test_a_tables_picture_draws_what_there_is(name, tmp_path):
    table = TABLES[name]
    rows = [
        {"cell": f"{cell.name} (scale 0.1)", "ours": 1.0 + i % 40, "ours_ci": 0.1, "ours_by_seed": [1.0 + i % 40]}
        for i, cell in enumerate(table.cells())
    ]
    drawn = []
    for part in (rows, rows[: len(rows) // 2], rows[:2]):
        figure = table.picture(part, 0.1)
        figure.savefig(tmp_path / "picture.png")
        drawn.append(sum(len(ax.texts) + sum(len(line.get_xdata()) for line in ax.lines) for ax in figure.axes))
    assert drawn[0] > drawn[1] > drawn[2]


@pytest.mark.parametrize("name", ["turtle-sine", "turtle-figure-1", "rules-on-navigation", "alpha-maml-sine"])
def test_a_runs_cells_are_what_it_measures(name):
    table, scale = TABLES[name], 1e-4
    run_name = next(cell.run_name for cell in table.cells())
    found = (
        table.measure_together(run_name, [0], scale)[0]
        if hasattr(table, "measure_together")
        else table.measure(run_name, 0, scale)
    )
    assert set(found) == {cell.name for cell in table.cells() if cell.run_name == run_name}


@pytest.mark.parametrize(
    ("cell", "ours", "verdict"),
    [
        (Cell("r", "c", 0.5, 0.1), 0.4, "at least the paper's"),
        (Cell("r", "c", 0.5, 0.1), 0.55, "within the paper's interval"),
        (Cell("r", "c", 0.5, 0.1), 0.7, "short by 0.20"),
        (Cell("r", "c", 0.5), 0.55, "short by 0.05"),
        (Cell("r", "c", -9.0, None, True), -8.0, "at least the paper's"),
        (Cell("r", "c", -9.0, 0.5, True), -9.4, "within the paper's interval"),
        (Cell("r", "c", -9.0, 0.5, True), -11.0, "short by 2.00"),
        (Cell("r", "c"), 1.0, "no published figure"),
        (Cell("r", "c", 0.5, None, True, not_below=0.0), 0.1, "not below 0"),
        (Cell("r", "c", 0.5, None, True, not_below=0.0), -0.1, "not told apart from 0"),
        (Cell("r", "c", 0.5, None, True, not_below=0.0), -0.3, "below 0"),
    ],
)
def test_verdicts(cell, ours, verdict):
    assert cell.verdict(ours, 0.2) == verdict
